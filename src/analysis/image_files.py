"""Conversion of image files of any format to raw samples of a model.

For models of grayscale images of 28 x 28, images are preprocessed like MNIST: grayscale, 28 x 28, a bright digit on black. For
all other models, an image is converted to the number of channels, scaled to cover the size, and center-cropped
(``src.data.images.fitted``).

**Like MNIST.** An image of 28 x 28 is only inverted if it is dark on light. Any other is preprocessed as LeCun, Cortes and Burges
did with the digits of NIST: cropped to the bounding box of the digit, scaled to a longer side of 20 pixels, keeping the aspect
ratio, and padded to 28 x 28 with its center of mass in the middle (at row and column 14, as in the 60,000 training images).

**Dark on light**: an image is inverted if three quarters of its border (the outermost 28th, at least one pixel) are closer
to the brightest pixel of the image than to the darkest. This applies to none of MNIST's 70,000 images.

**Transparency** is filled first. If less than half of an image is opaque, the opaque part is assumed to be strokes, and the
background becomes black or white, whichever has the higher contrast to them; else whichever has the lower contrast.
"""

import io
import stat
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from src.data.images import fitted
from src.errors import DataError

Grey = NDArray[np.float32]

# Pillow's formats without those that start another program, as EPS starts Ghostscript, or that have no signature.
_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
_SIDE, _BOX, _MIDDLE = 28, 20, 14
# Maximum side in pixels for locating the digit; larger images are downscaled first.
_LARGE = 512
# A pixel belongs to the digit from this fraction of the strongest contrast to the background; lower contrast is noise.
_FIGURE = 0.2


def picture_files(folder: Path) -> list[Path]:
    """The image files in a folder by file extension, sorted; without hidden files and subfolders."""
    Image.init()
    endings = {ending for ending, kind in Image.registered_extensions().items() if kind in _FORMATS}
    files = (path for path in folder.iterdir() if path.suffix.lower() in endings and not path.name.startswith("."))
    return sorted(path for path in files if path.is_file())


def is_picture(data: bytes) -> bool:
    """Whether bytes start with the signature of an image format; the image may still be damaged."""
    try:
        with _opened(data):
            return True
    except UnidentifiedImageError:
        return False
    except Exception:  # the format was recognized, and its decoder may raise anything
        return True


def read_image(source: Path | bytes, name: str, shape: Sequence[int]) -> NDArray[np.uint8]:
    """Read an image file as a raw sample; of a file with several images the first.

    Args:
        source: a file, or its content.
        name: name of the image in error messages.
        shape: shape of the sample: (height, width) or (channels, height, width) with 1 or 3 channels.

    Returns:
        uint8 of this shape.

    Raises:
        DataError: the file is missing, empty, not an image, damaged, or above Pillow's limit of pixels, or is to be preprocessed
            like MNIST and has a single gray value.
    """
    if tuple(shape[-2:]) == (_SIDE, _SIDE) and tuple(shape[:-2]) in ((), (1,)):
        return read_picture(source, name).reshape(tuple(shape))
    return _read(source, name, lambda image: fitted(image, shape).numpy())


def read_picture(source: Path | bytes, name: str) -> NDArray[np.uint8]:
    """Read an image file and preprocess it like MNIST; for arguments and errors see ``read_image``.

    Returns:
        Gray values of shape (28, 28), a bright digit on black.
    """
    grey = _read(source, name, _grey)
    if grey.min() == grey.max():
        raise DataError(f"{name} is blank: all its pixels are of one grey.")
    if _is_dark_on_light(grey):
        grey = 255 - grey
    return (grey if grey.shape == (_SIDE, _SIDE) else _as_mnist(grey)).round().astype(np.uint8)


def _read(source: Path | bytes, name: str, convert: Callable[[Image.Image], NDArray[Any]]) -> NDArray[Any]:
    """Open an image file and return the result of ``convert``; for errors see ``read_image``."""
    try:
        if isinstance(source, Path) and not stat.S_ISREG(source.stat().st_mode):
            raise DataError(f"{name} is not a file.")
        with _opened(source) as image:
            return convert(image)
    except DataError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"{name} is missing: there is no such file.") from error
    except UnidentifiedImageError as error:
        if not (len(source) if isinstance(source, bytes) else source.stat().st_size):
            raise DataError(f"{name} is empty.") from error
        kinds = ", ".join(_FORMATS)
        raise DataError(f"{name} is not a picture, or not of a kind that is read here ({kinds}).") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(
            f"{name} has more than {Image.MAX_IMAGE_PIXELS:,} pixels, which may be a trap for the memory: make it smaller."
        ) from error
    except Exception as error:  # decoders may raise anything for a damaged file
        if isinstance(error, OSError) and error.strerror:  # from the operating system, not a decoder
            raise DataError(f"{name} cannot be read ({error.strerror}).") from error
        raise DataError(f"{name} is damaged ({str(error) or type(error).__name__}).") from error


@contextmanager
def _opened(source: Path | bytes) -> Iterator[Image.Image]:
    Image.init()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow reads the image despite its warnings
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        file = io.BytesIO(source) if isinstance(source, bytes) else source
        with Image.open(file, formats=[kind for kind in _FORMATS if kind in Image.OPEN]) as image:
            yield image


def _grey(image: Image.Image) -> Grey:
    image = ImageOps.exif_transpose(image)
    if image.mode[0] in "IF":
        return np.asarray(_reduced(Image.fromarray(_in_bytes_range(image))))
    if image.has_transparency_data:
        return _filled(_reduced(image.convert("RGBA")))
    return np.asarray(_reduced(image.convert("L")), dtype=np.float32)


def _reduced(image: Image.Image) -> Image.Image:
    return image.reduce(factor) if (factor := -(-max(image.size) // _LARGE)) > 1 else image


def _in_bytes_range(image: Image.Image) -> Grey:
    """Scale to 0 to 255: 16-bit values by the range of their type, 32-bit integers and floats by their minimum and maximum."""
    values = np.asarray(image).astype(np.float32)
    if image.mode.startswith("I;16"):
        return values / np.float32(257)
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise ValueError("not all of its values are finite numbers")
    return ((values - low) / max(high - low, 1e-30) * 255).astype(np.float32)


def _filled(image: Image.Image) -> Grey:
    grey = np.asarray(image.convert("L"), dtype=np.float32)
    opaque = np.asarray(image.getchannel("A"), dtype=np.float32) / np.float32(255)
    is_light = (grey * opaque).sum() > 127.5 * opaque.sum()
    behind = np.float32(255 if is_light != (opaque.mean() < 0.5) else 0)
    return grey * opaque + behind * (1 - opaque)


def _border(grey: Grey) -> Grey:
    edge = max(1, min(grey.shape) // _SIDE)
    inside = np.zeros(grey.shape, dtype=bool)
    inside[edge:-edge, edge:-edge] = True
    return grey[~inside]


def _is_dark_on_light(grey: Grey) -> bool:
    return bool(np.percentile(_border(grey), 25) > (grey.min() + grey.max()) / 2)


def _as_mnist(grey: Grey) -> Grey:
    """Crop, scale and center a bright digit."""
    # If most of the border is bright nevertheless, the middle of the range still separates a digit from it.
    ground = min(np.median(_border(grey)), (grey.min() + grey.max()) / 2)
    ink = grey - ground
    ink[ink < _FIGURE * ink.max()] = 0
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    figure = Image.fromarray(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    width, height = (max(1, round(side * _BOX / max(figure.size))) for side in figure.size)
    # Pillow's bilinear filter averages over the area of a pixel; sharper filters overshoot below black and above white.
    small = np.asarray(figure.resize((width, height), Image.Resampling.BILINEAR))
    top, left = (_start(small.sum(axis)) for axis in (1, 0))
    framed = np.zeros((_SIDE, _SIDE), dtype=np.float32)
    framed[top : top + height, left : left + width] = small * (255 / small.max())
    return framed


def _start(mass: Grey) -> int:
    """Offset of a digit along an axis that puts its center of mass in the middle, limited so that the digit is in the image."""
    centre = float(np.average(np.arange(len(mass)), weights=mass))
    return min(max(0, round(_MIDDLE - centre)), _SIDE - len(mass))
