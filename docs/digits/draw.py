"""Draws the twenty images in this directory: `python docs/digits/draw.py`. Strokes with round ends through manually chosen points.

The first character of a file name is the digit it shows. The images were drawn and committed before any prediction on
them, and have not been changed since.
"""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

HERE = Path(__file__).parent
# Factor by which the images are drawn larger and then reduced, for smooth edges.
OVER = 4

Point = tuple[float, float]
Color = tuple[int, int, int]


@dataclass(frozen=True)
class Digit:
    """An image to draw.

    Args:
        strokes: lists of points; x and y from 0 to 1 over the digit's own box, y downwards.
        size: width and height of the image, in pixels.
        box: left, top, right and bottom of the digit, as fractions of the image.
        width: width of the strokes, as a fraction of the height of the box.
        ink: colour of the strokes.
        paper: colour of the background.
        slant: how far the top leans to the right, as a fraction of the height of the box.
        curved: whether the strokes are curves through their points instead of straight segments.
    """

    strokes: list[list[Point]]
    size: tuple[int, int]
    box: tuple[float, float, float, float]
    width: float
    ink: Color
    paper: Color
    slant: float = 0.0
    curved: bool = True


BLACK, WHITE = (0, 0, 0), (255, 255, 255)

PICTURES = {
    "0-round.png": Digit(
        [[(0.5, 0), (0.15, 0.15), (0, 0.5), (0.15, 0.85), (0.5, 1), (0.85, 0.85), (1, 0.5), (0.85, 0.15), (0.5, 0)]],
        (200, 200), (0.28, 0.18, 0.72, 0.82), 0.1, BLACK, WHITE,
    ),
    "0-open.jpg": Digit(
        [[(0.7, 0.04), (0.35, 0.02), (0.05, 0.3), (0, 0.65), (0.25, 0.98), (0.65, 0.97), (0.95, 0.65), (0.97, 0.3), (0.6, 0)]],
        (320, 240), (0.2, 0.2, 0.45, 0.75), 0.07, (40, 60, 150), (236, 232, 220), slant=0.12,
    ),
    "1-plain.png": Digit(
        [[(0.5, 0), (0.5, 1)]],
        (28, 28), (0.3, 0.14, 0.7, 0.86), 0.12, WHITE, BLACK, slant=0.15, curved=False,
    ),
    "1-flag-and-foot.png": Digit(
        [[(0.1, 0.28), (0.55, 0), (0.55, 1)], [(0.15, 1), (0.95, 1)]],
        (400, 400), (0.3, 0.2, 0.65, 0.8), 0.09, (20, 20, 20), (250, 250, 245), curved=False,
    ),
    "2-curl.png": Digit(
        [[(0.08, 0.25), (0.3, 0.03), (0.7, 0.03), (0.92, 0.28), (0.75, 0.55), (0.35, 0.82), (0.05, 0.98)],
         [(0.05, 0.98), (0.5, 0.95), (1, 0.98)]],
        (120, 160), (0.2, 0.2, 0.8, 0.8), 0.08, BLACK, WHITE,
    ),
    "2-loop.jpg": Digit(
        [[(0.1, 0.2), (0.4, 0), (0.78, 0.12), (0.75, 0.42), (0.35, 0.82), (0.08, 0.93), (0.12, 0.76), (0.35, 0.8), (0.65, 0.96),
          (1, 0.9)]],
        (256, 256), (0.25, 0.3, 0.7, 0.9), 0.06, (250, 240, 120), (30, 40, 60),
    ),
    "3-round.png": Digit(
        [[(0.08, 0.15), (0.4, 0), (0.85, 0.1), (0.85, 0.36), (0.4, 0.47)],
         [(0.4, 0.47), (0.9, 0.58), (0.95, 0.85), (0.5, 1), (0.05, 0.88)]],
        (64, 64), (0.28, 0.15, 0.72, 0.85), 0.13, WHITE, BLACK,
    ),
    "3-flat-top.png": Digit(
        [[(0.05, 0.02), (0.9, 0.02), (0.42, 0.4)],
         [(0.42, 0.4), (0.75, 0.42), (0.97, 0.65), (0.8, 0.92), (0.4, 1), (0.03, 0.88)]],
        (300, 200), (0.55, 0.15, 0.85, 0.85), 0.08, (180, 30, 30), (255, 255, 255),
    ),
    "4-open.png": Digit(
        [[(0.12, 0), (0.05, 0.58), (0.98, 0.58)], [(0.75, 0.05), (0.72, 1)]],
        (150, 150), (0.25, 0.2, 0.75, 0.85), 0.09, BLACK, (230, 230, 230), curved=False,
    ),
    "4-closed.jpg": Digit(
        [[(0.7, 1), (0.7, 0), (0.02, 0.68), (1, 0.68)]],
        (280, 280), (0.25, 0.15, 0.75, 0.85), 0.07, (235, 235, 235), (50, 50, 50), slant=0.08, curved=False,
    ),
    "5-angular.png": Digit(
        [[(0.9, 0.02), (0.15, 0.02), (0.1, 0.42)],
         [(0.1, 0.42), (0.5, 0.36), (0.9, 0.52), (0.92, 0.82), (0.55, 1), (0.05, 0.9)]],
        (180, 220), (0.25, 0.2, 0.75, 0.8), 0.1, BLACK, WHITE,
    ),
    "5-slanted.png": Digit(
        [[(0.35, 0.05), (0.25, 0.25), (0.15, 0.45)], [(0.15, 0.45), (0.6, 0.42), (0.85, 0.65), (0.65, 0.95), (0.05, 0.97)],
         [(0.35, 0.05), (0.65, 0.06), (1, 0.02)]],
        (48, 48), (0.22, 0.18, 0.78, 0.82), 0.1, (255, 255, 255), (20, 80, 40), slant=0.15,
    ),
    "6-curl.png": Digit(
        [[(0.75, 0), (0.3, 0.25), (0.05, 0.6), (0.2, 0.93), (0.6, 1), (0.92, 0.8), (0.75, 0.55), (0.4, 0.53), (0.1, 0.72)]],
        (240, 240), (0.1, 0.1, 0.45, 0.6), 0.1, BLACK, WHITE,
    ),
    "6-thin.png": Digit(
        [[(0.6, 0), (0.25, 0.3), (0.02, 0.7), (0.25, 0.98), (0.7, 0.95), (0.9, 0.72), (0.6, 0.55), (0.12, 0.72)]],
        (360, 400), (0.25, 0.15, 0.72, 0.85), 0.02, (60, 60, 60), WHITE,
    ),
    "7-plain.png": Digit(
        [[(0, 0.02), (0.95, 0.02), (0.4, 1)]],
        (28, 28), (0.28, 0.16, 0.72, 0.84), 0.12, BLACK, WHITE, curved=False,
    ),
    "7-bar.jpg": Digit(
        [[(0.02, 0.08), (0, 0)], [(0, 0.02), (1, 0.02), (0.35, 1)], [(0.2, 0.52), (0.9, 0.48)]],
        (220, 300), (0.25, 0.2, 0.75, 0.8), 0.07, (20, 40, 120), (245, 240, 225), curved=False,
    ),
    "8-two-rings.png": Digit(
        [[(0.5, 0), (0.14, 0.1), (0.14, 0.35), (0.5, 0.46), (0.86, 0.35), (0.86, 0.1), (0.5, 0)],
         [(0.5, 0.46), (0.05, 0.6), (0.05, 0.88), (0.5, 1), (0.95, 0.88), (0.95, 0.6), (0.5, 0.46)]],
        (100, 100), (0.3, 0.15, 0.7, 0.85), 0.12, WHITE, BLACK,
    ),
    "8-one-stroke.png": Digit(
        [[(0.9, 0.1), (0.5, 0), (0.12, 0.18), (0.4, 0.44), (0.8, 0.68), (0.75, 0.94), (0.35, 1), (0.1, 0.82), (0.35, 0.55),
          (0.8, 0.3), (0.9, 0.1)]],
        (260, 200), (0.35, 0.15, 0.65, 0.85), 0.06, (90, 40, 110), (250, 245, 255), slant=0.1,
    ),
    "9-straight.png": Digit(
        [[(0.9, 0.25), (0.6, 0.02), (0.15, 0.1), (0.05, 0.35), (0.35, 0.52), (0.75, 0.42), (0.9, 0.22)],
         [(0.9, 0.1), (0.88, 0.55), (0.82, 1)]],
        (140, 180), (0.3, 0.2, 0.75, 0.8), 0.11, BLACK, WHITE,
    ),
    "9-hooked.jpg": Digit(
        [[(0.88, 0.22), (0.5, 0), (0.1, 0.22), (0.3, 0.48), (0.7, 0.42), (0.9, 0.2)],
         [(0.9, 0.15), (0.92, 0.6), (0.75, 0.93), (0.4, 1), (0.1, 0.9)]],
        (300, 300), (0.45, 0.35, 0.85, 0.92), 0.08, (255, 255, 255), (120, 30, 30),
    ),
}  # fmt: skip


def main() -> None:
    """Draw them all."""
    for name, digit in PICTURES.items():
        draw(digit).save(HERE / name, optimize=True, quality=85)


def draw(digit: Digit) -> Image.Image:
    """One picture."""
    width, height = (OVER * side for side in digit.size)
    left, top, right, bottom = digit.box
    tall = (bottom - top) * height
    image = Image.new("RGB", (width, height), digit.paper)
    pen = ImageDraw.Draw(image)
    radius = digit.width * tall / 2
    for stroke in digit.strokes:
        points = [
            ((left + x * (right - left)) * width + (0.5 - y) * digit.slant * tall, top * height + y * tall)
            for x, y in (bend(stroke) if digit.curved else stroke)
        ]
        pen.line(points, fill=digit.ink, width=max(1, round(2 * radius)))
        for x, y in points:
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=digit.ink)
    return image.resize(digit.size, Image.Resampling.BOX)


def bend(points: list[Point], steps: int = 24) -> list[Point]:
    """Points along the Catmull-Rom spline through ``points``."""
    ends = [points[0], *points, points[-1]]
    along = []
    for a, b, c, d in zip(ends, ends[1:], ends[2:], ends[3:], strict=False):
        for step in range(steps):
            t = step / steps
            along.append(
                tuple(
                    0.5 * (2 * q + (r - p) * t + (2 * p - 5 * q + 4 * r - s) * t**2 + (3 * q - p - 3 * r + s) * t**3)
                    for p, q, r, s in zip(a, b, c, d, strict=True)
                )
            )
    return [*along, points[-1]]


if __name__ == "__main__":
    main()
