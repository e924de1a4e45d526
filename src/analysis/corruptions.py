"""Images as they come out of poor cameras and crooked scanners: each function takes grey values, uint8 (n, height, width),
and returns them changed, of the same shape and kind. What is random is drawn from torch's generators.
"""

import math

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F


def noise(images: Tensor, deviation: float) -> Tensor:
    """Add Gaussian noise to each pixel; its deviation is a share of the range of grey values."""
    return F.gaussian_noise(images, sigma=deviation)


def blur(images: Tensor, sigma: float) -> Tensor:
    """Blur with a Gaussian of so many pixels, cut off at three times as many."""
    width = 2 * math.ceil(3 * sigma) + 1
    return F.gaussian_blur(images.unsqueeze(1), [width, width], [sigma, sigma]).squeeze(1)


def rotation(images: Tensor, degrees: float) -> Tensor:
    """Turn by so many degrees: every other image the other way."""
    changed = images.clone()
    for first, angle in enumerate((degrees, -degrees)):
        turned = F.rotate(images[first::2].unsqueeze(1), angle, InterpolationMode.BILINEAR)
        changed[first::2] = turned.squeeze(1)
    return changed


def shift(images: Tensor, pixels: float) -> Tensor:
    """Move by so many pixels: the images in turn to the right, to the left, down and up."""
    changed = images.clone()
    for first, way in enumerate(([pixels, 0], [-pixels, 0], [0, pixels], [0, -pixels])):
        moved = F.affine(images[first::4].unsqueeze(1), angle=0, translate=way, scale=1, shear=[0, 0])
        changed[first::4] = moved.squeeze(1)
    return changed


def erased(images: Tensor, side: float) -> Tensor:
    """Set a square of so many pixels to the background, anywhere in the image."""
    n, height, width = images.shape
    size = int(side)
    top = torch.randint(height - size + 1, (n,), device=images.device)
    left = torch.randint(width - size + 1, (n,), device=images.device)
    background = torch.zeros((), dtype=images.dtype, device=images.device)
    changed = [
        F.erase(image.unsqueeze(0), i, j, size, size, background)
        for image, i, j in zip(images, top.tolist(), left.tolist(), strict=True)
    ]
    return torch.cat(changed)
