"""Random augmentation of a batch of images on the device, with different random numbers for each image."""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from src.bounds import Bounds, Fraction, FractionBelowOne

# Elastic distortion displaces a coarse grid of points; between them the displacement is interpolated.
_GRID = 5

Pixels = Annotated[float, Bounds(ge=0, le=28)]


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random augmentation. The parameters are maxima: each amount is drawn uniformly between the negative maximum and the maximum.

    All geometric transforms are combined into one resampling. Drawing random numbers (``draw``) is separate from applying them
    (``apply``), so that several batches with different seeds can be augmented in one call.
    """

    shift: Annotated[Pixels, "largest shift along each axis, in pixels"] = 0.0
    rotation: Annotated[float, Bounds(ge=0, le=180), "largest rotation, in degrees"] = 0.0
    scale: Annotated[FractionBelowOne, "largest change of the size; 0.1 for 90 % to 110 %"] = 0.0
    shear: Annotated[float, Bounds(ge=0, le=60), "largest shear along the rows, in degrees"] = 0.0
    elastic: Annotated[Pixels, "largest displacement of each point of a 5 x 5 grid, in pixels"] = 0.0
    erasing: Annotated[Fraction, "probability of setting a rectangle of 2 % to 20 % of the image to the background"] = (
        0.0
    )

    def draw(self, images: int, device: torch.device) -> Tensor:
        """Draw random numbers for ``images`` images: float32 (images, numbers), uniform in [0, 1)."""
        return torch.rand(images, 10 + 2 * _GRID * _GRID, device=device)

    def apply(self, images: Tensor, random: Tensor) -> Tensor:
        """Augment images of any type.

        Args:
            images: (n, height, width) or (n, channels, height, width); all channels of an image are transformed alike.
            random: random numbers from ``draw``, (n, numbers).

        Returns:
            Augmented images, float32 of the shape of ``images``.
        """
        changed = images.to(torch.float32).reshape(len(images), -1, *images.shape[-2:])
        if any((self.shift, self.rotation, self.scale, self.shear, self.elastic)):
            changed = self._warp(changed, 2 * random - 1)
        if self.erasing:
            changed = self._erase(changed, random[:, 5:10])
        return changed.reshape(images.shape)

    def _warp(self, images: Tensor, amount: Tensor) -> Tensor:
        n, _, height, width = images.shape
        angle = amount[:, 0] * math.radians(self.rotation)
        scale = 1 + amount[:, 1] * self.scale
        shear = torch.tan(amount[:, 2] * math.radians(self.shear))
        cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
        # Source coordinates of each output pixel, as for grid_sample, from -1 to 1.
        across = torch.stack([cos, cos * shear - sin, amount[:, 3] * self.shift * 2 / width], 1)
        down = torch.stack([sin, sin * shear + cos, amount[:, 4] * self.shift * 2 / height], 1)
        grid = F.affine_grid(torch.stack([across, down], 1), [n, 1, height, width], align_corners=False)
        if self.elastic:
            points = amount[:, 10:].reshape(n, 2, _GRID, _GRID)
            moved = F.interpolate(points, (height, width), mode="bicubic", align_corners=True)
            extent = torch.tensor([2 / width, 2 / height], device=images.device)
            grid = grid + moved.permute(0, 2, 3, 1) * self.elastic * extent
        # Zero padding, since the background of these images is 0.
        return F.grid_sample(images, grid, align_corners=False)

    def _erase(self, images: Tensor, random: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        area = (0.02 + 0.18 * random[:, 0]) * height * width
        aspect = torch.exp((2 * random[:, 1] - 1) * math.log(3.0))
        tall, wide = torch.sqrt(area * aspect).clamp(max=height), torch.sqrt(area / aspect).clamp(max=width)
        top, left = random[:, 2] * (height - tall), random[:, 3] * (width - wide)
        rows = torch.arange(height, device=images.device)
        columns = torch.arange(width, device=images.device)
        in_rows = (rows >= top.unsqueeze(1)) & (rows < (top + tall).unsqueeze(1))
        in_columns = (columns >= left.unsqueeze(1)) & (columns < (left + wide).unsqueeze(1))
        chosen = (random[:, 4] < self.erasing).view(-1, 1, 1)
        rectangle = chosen & in_rows.unsqueeze(2) & in_columns.unsqueeze(1)
        return images.masked_fill(rectangle.unsqueeze(1), 0.0)
