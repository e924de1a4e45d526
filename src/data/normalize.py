"""Normalisation of raw samples."""

import torch
from torch import Tensor, nn

# Integers of these types are indices, such as those of tokens, unless they are normalised.
_INDICES = (torch.int32, torch.int64)


class Normalize(nn.Module):
    """Maps raw samples to ``(raw - mean) / std``.

    Args:
        mean: subtracted from every raw value: a number, or a tensor that broadcasts to a sample, as (channels, 1, 1).
        std: divisor, above 0.
    """

    mean: float | Tensor
    std: float | Tensor

    def __init__(self, mean: float | Tensor, std: float | Tensor) -> None:
        super().__init__()
        for name, value in (("mean", mean), ("std", std)):
            if isinstance(value, Tensor):  # which follows the module to its device
                self.register_buffer(name, value, persistent=False)
            else:
                setattr(self, name, value)
        self.is_identity = bool(torch.as_tensor(mean == 0).all() and torch.as_tensor(std == 1).all())

    def forward(self, raw: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Normalise raw samples of any type, such as uint8 grey values: a new tensor of the same shape, of type ``dtype``.

        Samples of int32 or int64 with a mean of 0 and a standard deviation of 1, such as tokens, are returned as they are.
        """
        if self.is_identity and raw.dtype in _INDICES:
            return raw
        # Converted first: torch subtracts a number from bytes four times slower than from floating point.
        values = raw.to(dtype, copy=True)
        return values.sub_(_as(values, self.mean)).div_(_as(values, self.std))

    def inverse(self, normalized: Tensor) -> Tensor:
        """The raw samples in floating point."""
        return normalized * _as(normalized, self.std) + _as(normalized, self.mean)


def _as(like: Tensor, value: float | Tensor) -> float | Tensor:
    return value.to(like) if isinstance(value, Tensor) else value
