"""Validation of samples and labels when they are loaded, before training starts."""

import torch
from torch import Tensor

from src.errors import DataError


def validated(
    loaded: object,
    *,
    name: str,
    input_shape: tuple[int, ...],
    classes: int | None,
    multilabel: bool = False,
    targets: int = 0,
) -> tuple[Tensor, Tensor]:
    """Validate the samples and labels of a data set.

    Args:
        loaded: samples and labels.
        name: name of the data set and its part, for messages.
        input_shape: required shape of each sample.
        classes: number of classes; None for regression.
        multilabel: whether a label has a 0 or a 1 for each class.
        targets: number of targets per sample, for regression.

    Returns:
        The unchanged samples, (n, *input_shape), and the labels: int64 (n,) for classification, float32 (n, classes) if
        ``multilabel``, float32 (n, targets) for regression.

    Raises:
        DataError: shape, dtype or number of samples or labels is invalid, a label is out of range, or a value is not finite.
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
    if targets == 1 and labels.ndim == 1:
        labels = labels.unsqueeze(1)
    values = targets if classes is None else classes if multilabel else 0
    if labels.shape != (expected := (len(inputs), values) if values else (len(inputs),)):
        needed = f"{values} values" if values else "one label"
        raise DataError(
            f"{name}: labels of shape {tuple(labels.shape)} do not fit {len(inputs):,} samples: each needs {needed}, "
            f"shape {expected}."
        )
    if not len(inputs):
        raise DataError(f"{name}: it has no samples, and at least one is needed.")
    _check_finite(inputs, name, "samples")
    if classes is None:
        _check_finite(labels, name, "labels")
        return inputs, labels.to(torch.float32)
    return inputs, _as_indicators(labels, name) if multilabel else _as_classes(labels, name, classes)


def _check_finite(values: Tensor, name: str, what: str) -> None:
    """Raise ``DataError`` if a floating-point value is not finite; integers, such as pixel values, need no check."""
    if values.is_complex():
        raise DataError(f"{name}: the {what} are complex numbers ({values.dtype}): use real ones.")
    if not values.is_floating_point() or not values.numel():
        return
    limit = torch.finfo(torch.float32).max  # networks compute in float32
    low, high = torch.aminmax(values)  # NaN if any value is
    if -limit <= low and high <= limit:
        return
    wrong = ~(values.abs() <= limit).flatten(1).all(1)
    raise DataError(
        f"{name}: {int(wrong.sum()):,} of {len(values):,} {what} hold values that are NaN, infinite or beyond float32's "
        f"{limit:.1e}, the first of them sample {int(wrong.nonzero()[0])}: remove or replace these."
    )


def _as_indicators(labels: Tensor, name: str) -> Tensor:
    wrong = (labels != 0) & (labels != 1)
    if wrong.any():
        sample, number = wrong.nonzero()[0].tolist()
        raise DataError(
            f"{name}: the label of sample {sample} for class {number} is {labels[sample, number].item()}, and it must be 1 "
            f"if the sample belongs to the class, else 0 ({int(wrong.sum()):,} values are wrong)."
        )
    return labels.to(torch.float32)


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
