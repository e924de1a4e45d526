"""Image corruptions. Each function takes images, uint8 (n, height, width) or (n, channels, height, width), and returns corrupted
images of the same shape and dtype. Random numbers are drawn from torch's default generators.
"""

import math

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from src.data.images import with_channels


def noise(images: Tensor, deviation: float) -> Tensor:
    """Add Gaussian noise to each pixel, with a standard deviation of ``deviation`` times the range of pixel values."""
    return F.gaussian_noise(images, sigma=deviation)


def blur(images: Tensor, sigma: float) -> Tensor:
    """Blur with a Gaussian of standard deviation ``sigma``, in pixels, truncated at 3 ``sigma``."""
    # Reflection padding requires an image larger than half of the kernel.
    width = 2 * min(math.ceil(3 * sigma), min(images.shape[-2:]) - 1) + 1
    return F.gaussian_blur(with_channels(images), [width, width], [sigma, sigma]).reshape(images.shape)


def rotation(images: Tensor, degrees: float) -> Tensor:
    """Rotate by ``degrees``, alternating the direction from image to image."""
    changed = images.clone()
    for first, angle in enumerate((degrees, -degrees)):
        turned = F.rotate(with_channels(images[first::2]), angle, InterpolationMode.BILINEAR)
        changed[first::2] = turned.reshape(changed[first::2].shape)
    return changed


def shift(images: Tensor, pixels: float) -> Tensor:
    """Translate by ``pixels``, images cyclically to the right, to the left, down and up."""
    changed = images.clone()
    for first, way in enumerate(([pixels, 0], [-pixels, 0], [0, pixels], [0, -pixels])):
        moved = F.affine(with_channels(images[first::4]), angle=0, translate=way, scale=1, shear=[0, 0])
        changed[first::4] = moved.reshape(changed[first::4].shape)
    return changed


def erased(images: Tensor, side: float) -> Tensor:
    """Set a square of ``side`` pixels at a random position to the background; clipped to the size of the image."""
    n, (height, width) = len(images), images.shape[-2:]
    size = min(int(side), height, width)
    top = torch.randint(height - size + 1, (n,), device=images.device)
    left = torch.randint(width - size + 1, (n,), device=images.device)
    background = torch.zeros((), dtype=images.dtype, device=images.device)
    changed = [
        F.erase(image, i, j, size, size, background)
        for image, i, j in zip(with_channels(images), top.tolist(), left.tolist(), strict=True)
    ]
    return torch.stack(changed).reshape(images.shape)
