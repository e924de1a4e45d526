"""Functions of images: (height, width), or (channels, height, width) with 1 or 3 channels; raw images are uint8."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor


def is_image(shape: Sequence[int]) -> bool:
    """Whether samples of this shape are images."""
    return len(shape) == 2 or (len(shape) == 3 and shape[0] in (1, 3))


def are_images(inputs: Tensor) -> bool:
    """Whether raw samples (n, *shape) are images with values from 0 to 255."""
    return inputs.dtype == torch.uint8 and is_image(inputs.shape[1:])


def with_channels(images: Tensor) -> Tensor:
    """Add a channel dimension to images (n, height, width); images with channels are returned unchanged."""
    return images.unsqueeze(1) if images.ndim == 3 else images


def for_drawing(image: Tensor) -> Tensor:
    """Convert an image to matplotlib's layout: (height, width), or (height, width, 3) in color."""
    if image.ndim == 2:
        return image
    return image[0] if image.shape[0] == 1 else image.permute(1, 2, 0)


def fitted(image: Image.Image, shape: Sequence[int]) -> Tensor:
    """Convert an image file to a raw sample: rotated according to its Exif data, scaled to cover the size, center-cropped.

    Args:
        image: of any size and mode.
        shape: shape of the sample, (height, width) for grayscale, or (channels, height, width).

    Returns:
        uint8 of this shape.

    Raises:
        ValueError: the image has 32-bit values, whose range is unknown.
    """
    *channels, height, width = shape
    if image.mode in ("I", "F"):
        raise ValueError("its values have 32 bits and no fixed range")
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    in_mode = ImageOps.exif_transpose(image).convert("RGB" if channels == [3] else "L")
    pixels = torch.from_numpy(np.array(ImageOps.fit(in_mode, (width, height), Image.Resampling.BILINEAR)))
    return pixels.permute(2, 0, 1).contiguous() if channels == [3] else pixels.reshape(tuple(shape))
