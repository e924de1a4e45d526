"""Samples and labels are checked as soon as they are loaded, so that no training starts on what would spoil it."""

import torch
from torch import Tensor

from src.errors import DataError


def validated(loaded: object, *, name: str, input_shape: tuple[int, ...], classes: int) -> tuple[Tensor, Tensor]:
    """Check what a data set has loaded.

    Args:
        loaded: samples and labels.
        name: of the data set and its part, for messages.
        input_shape: what each sample must look like.
        classes: labels must be below.

    Returns:
        The samples as they are, (n, *input_shape), and the labels as int64, (n,).

    Raises:
        DataError: samples and labels do not fit each other or the data set, or a value is not finite.
    """
    match loaded:
        case Tensor() as inputs, Tensor() as labels:
            pass
        case _:
            found = [type(one).__name__ for one in loaded] if isinstance(loaded, tuple) else [type(loaded).__name__]
            raise DataError(
                f"{name}: load() returned {', '.join(found)}: it must return two tensors, samples and labels."
            )
    if inputs.layout != torch.strided or labels.layout != torch.strided:
        raise DataError(f"{name}: a tensor is sparse: return dense ones, as by to_dense().")
    if inputs.ndim == 0 or tuple(inputs.shape[1:]) != tuple(input_shape):
        raise DataError(
            f"{name}: a sample is of shape {tuple(inputs.shape[1:])}, and input_shape is {tuple(input_shape)}: reshape the "
            "samples, or set input_shape to theirs."
        )
    if labels.shape != inputs.shape[:1]:
        raise DataError(
            f"{name}: labels of shape {tuple(labels.shape)} do not fit {len(inputs):,} samples: each needs one label, "
            f"shape ({len(inputs)},)."
        )
    if not len(inputs):
        raise DataError(f"{name}: it has no samples, and at least one is needed.")
    _check_finite(inputs, name)
    return inputs, _as_classes(labels, name, classes)


def _check_finite(inputs: Tensor, name: str) -> None:
    """Whole numbers, such as grey values, are finite: no pass over them is needed."""
    if inputs.is_complex():
        raise DataError(f"{name}: the samples are complex numbers ({inputs.dtype}): use real ones.")
    if not inputs.is_floating_point() or not inputs.numel():
        return
    limit = torch.finfo(torch.float32).max  # networks compute in float32
    low, high = torch.aminmax(inputs)  # NaN if any value is
    if -limit <= low and high <= limit:
        return
    wrong = ~(inputs.abs() <= limit).flatten(1).all(1)
    raise DataError(
        f"{name}: {int(wrong.sum()):,} of {len(inputs):,} samples hold values that are NaN, infinite or beyond float32's "
        f"{limit:.1e}, the first of them sample {int(wrong.nonzero()[0])}: remove or replace these."
    )


def _as_classes(labels: Tensor, name: str, classes: int) -> Tensor:
    whole = labels.to(torch.int64)
    wrong = (whole != labels) | (whole < 0) | (whole >= classes)
    if wrong.any():
        first = int(wrong.nonzero()[0])
        raise DataError(
            f"{name}: the label of sample {first} is {labels[first].item()}, and labels are whole numbers from 0 to "
            f"{classes - 1}: number the classes from 0, or set classes to how many there are ({int(wrong.sum()):,} labels "
            "are wrong)."
        )
    return whole
