"""What counts as an image here: (height, width), or (channels, height, width) with 1 or 3 channels; raw ones are uint8."""

from collections.abc import Sequence

import torch
from torch import Tensor


def is_image(shape: Sequence[int]) -> bool:
    """Whether samples of this shape are images."""
    return len(shape) == 2 or (len(shape) == 3 and shape[0] in (1, 3))


def are_images(inputs: Tensor) -> bool:
    """Whether raw samples (n, *shape) are images with values from 0 to 255."""
    return inputs.dtype == torch.uint8 and is_image(inputs.shape[1:])


def with_channels(images: Tensor) -> Tensor:
    """Images (n, height, width) or (n, channels, height, width) as the latter."""
    return images.unsqueeze(1) if images.ndim == 3 else images


def for_drawing(image: Tensor) -> Tensor:
    """One image as matplotlib draws it: (height, width), or (height, width, 3) in colour."""
    if image.ndim == 2:
        return image
    return image[0] if image.shape[0] == 1 else image.permute(1, 2, 0)
