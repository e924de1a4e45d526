"""Normalisation of raw samples."""

import torch
from torch import Tensor, nn

# Integers of these dtypes are indices, such as those of tokens, unless mean or std is set.
_INDICES = (torch.int32, torch.int64)


class Normalize(nn.Module):
    """Maps raw samples to ``(raw - mean) / std``.

    Args:
        mean: subtracted from every raw value: a number, or a tensor that broadcasts to a sample, such as (channels, 1, 1).
        std: divisor, above 0.
    """

    mean: float | Tensor
    std: float | Tensor

    def __init__(self, mean: float | Tensor, std: float | Tensor) -> None:
        super().__init__()
        for name, value in (("mean", mean), ("std", std)):
            if isinstance(value, Tensor):  # a buffer moves with the module to its device
                self.register_buffer(name, value, persistent=False)
            else:
                setattr(self, name, value)
        self.is_identity = bool(torch.as_tensor(mean == 0).all() and torch.as_tensor(std == 1).all())

    def forward(self, raw: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Normalise raw samples of any dtype, such as uint8 images, to a new tensor of the same shape with dtype ``dtype``.

        Samples of int32 or int64 are returned unchanged if the mean is 0 and the standard deviation 1, as for tokens.
        """
        if self.is_identity and raw.dtype in _INDICES:
            return raw
        # Converted first: in torch, subtracting a number from uint8 is four times slower than from floating point.
        values = raw.to(dtype, copy=True)
        return values.sub_(_as(values, self.mean)).div_(_as(values, self.std))

    def inverse(self, normalized: Tensor) -> Tensor:
        """Convert normalised samples back to raw samples, in floating point; tokens are returned unchanged."""
        if self.is_identity and normalized.dtype in _INDICES:
            return normalized
        return normalized * _as(normalized, self.std) + _as(normalized, self.mean)


def _as(like: Tensor, value: float | Tensor) -> float | Tensor:
    return value.to(like) if isinstance(value, Tensor) else value
