"""Makes images that are difficult or not digits at all from those in this directory: `python docs/digits/spoil.py FOLDER`."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

HERE = Path(__file__).parent


def grey(name: str) -> Image.Image:
    """One of the pictures, without its colours."""
    return Image.open(HERE / name).convert("L")


def with_pixels(pixels: np.ndarray) -> Image.Image:
    """A picture of grey values, cut to what a byte holds."""
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def main(folder: Path) -> None:
    """Write them all into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)

    both = Image.new("L", (400, 200), 255)
    both.paste(grey("1-flag-and-foot.png").resize((200, 200)), (0, 0))
    both.paste(grey("0-round.png"), (200, 0))
    table = Image.new("L", (300, 300), 40)
    table.paste(grey("3-flat-top.png").resize((240, 160)), (30, 70))
    five = np.asarray(grey("5-angular.png"), dtype=float)
    two = np.asarray(grey("2-curl.png"), dtype=float)
    speck = grey("8-one-stroke.png")
    ImageDraw.Draw(speck).ellipse((10, 10, 14, 14), fill=60)
    letter = Image.new("L", (100, 100), 255)
    ImageDraw.Draw(letter).line([(30, 80), (50, 20), (70, 80)], fill=0, width=8)
    ImageDraw.Draw(letter).line([(38, 58), (62, 58)], fill=0, width=8)

    pictures = {
        "2-noisy": with_pixels(two * 0.6 + 40 + random.normal(0, 12, two.shape)),
        "3-on-paper-on-a-dark-table": table,
        "4-on-its-side": grey("4-open.png").rotate(90, fillcolor=230),
        "5-in-uneven-light": with_pixels(five * np.linspace(1, 0.3, five.shape[1])),
        "6-upside-down": grey("6-curl.png").rotate(180, fillcolor=255),
        "8-with-a-speck": speck,
        "a-letter-A": letter,
        "nothing-but-noise": with_pixels(random.integers(0, 256, (200, 200))),
        "one-and-zero": both,
    }
    for name, picture in pictures.items():
        picture.save(folder / f"{name}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
