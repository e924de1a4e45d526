"""Seeded, optionally stratified splits: a held-out subset, or a fold of a cross-validation."""

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from src.bounds import Bounds, Count, CountOrZero
from src.errors import ConfigError
from src.randomness import split_order

Folds = Annotated[
    Annotated[int, Bounds(ge=2, le=10_000)] | None, "folds of a cross-validation; one is held out in place of val_size"
]
Fold = Annotated[CountOrZero | None, "the fold that is held out for validation, from 0; with -m all for each of them"]
PerClass = Annotated[Count | None, "number of the remaining samples of each class to train on; null: all"]


def count_of(size: int | float, samples: int) -> int:
    """Number of samples given by a setting: a number, or a fraction of all samples (at least one sample, unless 0)."""
    return max(1, round(size * samples)) if isinstance(size, float) and size else int(size)


def hold_out(
    seed: int, samples: int, count: int, strata: Tensor | None = None, *, purpose: str = "validation"
) -> tuple[Tensor, Tensor]:
    """Randomly split samples into a held-out subset and the rest.

    Args:
        seed: seed of the split.
        samples: number of samples.
        count: number of held-out samples.
        strata: classes for a stratified split, int64 (samples,), proportional to within one sample; None does not stratify.
        purpose: validation or test, which are drawn independently of each other.

    Returns:
        Indices of the held-out samples, and of the others; int64, both in random order.
    """
    order = split_order(seed, samples, purpose)
    if strata is None:
        return order[:count], order[count:]
    by_class = _by_class(order, strata)
    evenly = ((2 * torch.arange(count) + 1) * samples) // (2 * max(1, count))
    return _parted(order, by_class[evenly])


def first_of_each_class(order: Tensor, labels: Tensor, per_class: int, class_names: Sequence[str]) -> Tensor:
    """The first samples of each class: those of a smaller number are among those of a larger one.

    Args:
        order: indices of samples, int64.
        labels: the classes of all samples, int64.
        per_class: number of samples of each class.
        class_names: names of the classes, for the error.

    Raises:
        ConfigError: a class has fewer samples.
    """
    fewest, label = torch.bincount(labels[order], minlength=len(class_names)).min(0)
    if per_class > fewest:
        raise ConfigError(
            f"data.per_class={per_class} must be at most {fewest}, the number of samples of class {class_names[int(label)]!r} that are "
            "not held out: set a smaller number, or hold out fewer samples."
        )
    return torch.cat([order[labels[order] == one][:per_class] for one in labels.unique()])


def hold_out_fold(
    seed: int, samples: int, fold: int, folds: int, strata: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Hold out one fold for validation; for arguments and results see ``hold_out``.

    The folds of a seed partition the samples. Their sizes differ by at most one, overall and for each class.

    Args:
        seed: see ``hold_out``.
        samples: see ``hold_out``.
        fold: index of the fold, from 0.
        folds: number of folds.
        strata: see ``hold_out``.
    """
    order = split_order(seed, samples)
    return _parted(order, (order if strata is None else _by_class(order, strata))[fold::folds])


def _by_class(order: Tensor, strata: Tensor) -> Tensor:
    return order[strata[order].argsort(stable=True)]


def _parted(order: Tensor, held_out: Tensor) -> tuple[Tensor, Tensor]:
    chosen = torch.zeros(len(order), dtype=torch.bool)
    chosen[held_out] = True
    return order[chosen[order]], order[~chosen[order]]


def check_sizes(train_size: int | None, per_class: int | None) -> None:
    """Check that one setting limits the number of training samples.

    Raises:
        ConfigError: both are set.
    """
    if train_size is not None and per_class is not None:
        raise ConfigError(
            f"data.per_class={per_class} and data.train_size={train_size} both limit the training samples: leave one out."
        )


def check_folds(folds: int | None, fold: int | None) -> None:
    """Check the settings of a cross-validation.

    Raises:
        ConfigError: only one of them is set, or ``fold`` is out of range.
    """
    if folds is None and fold is not None:
        raise ConfigError(f"data.fold={fold} needs the number of folds: set data.folds, or leave data.fold out.")
    if folds is not None and (fold is None or not 0 <= fold < folds):
        raise ConfigError(
            f"data.fold={'null' if fold is None else fold} must be from 0 to {folds - 1} with data.folds={folds}; data.fold=all "
            "with -m trains each of them."
        )


def check_fold_size(folds: int, samples: int) -> None:
    """Check that no fold is empty.

    Raises:
        ConfigError: there are more folds than samples.
    """
    if folds > samples:
        raise ConfigError(f"data.folds={folds} must be at most {samples}, the number of samples to train on.")
