"""Seeded, optionally stratified splits: a held-out subset, or one of several folds."""

from typing import Annotated

import torch
from torch import Tensor

from src.bounds import Bounds, CountOrZero
from src.errors import ConfigError
from src.randomness import split_order

Folds = Annotated[
    Annotated[int, Bounds(ge=2, le=10_000)] | None, "folds of a cross-validation; one is held out in place of val_size"
]
Fold = Annotated[CountOrZero | None, "the fold that is held out for validation, from 0; with -m all for each of them"]


def count_of(size: int | float, samples: int) -> int:
    """Number of samples given by a setting: a number, or a fraction of all samples (at least one sample, unless 0)."""
    return max(1, round(size * samples)) if isinstance(size, float) and size else int(size)


def hold_out(
    seed: int, samples: int, count: int, strata: Tensor | None = None, *, purpose: str = "validation"
) -> tuple[Tensor, Tensor]:
    """Split samples in two.

    Args:
        seed: chooses the samples.
        samples: how many there are.
        count: how many are held out.
        strata: classes, int64 (samples,), each of which is held out in proportion, to within one sample; None: by chance.
        purpose: validation or test, which are chosen independently of each other.

    Returns:
        The numbers of the samples that are held out, and of the others; int64, both in random order.
    """
    order = split_order(seed, samples, purpose)
    if strata is None:
        return order[:count], order[count:]
    by_class = _by_class(order, strata)
    evenly = ((2 * torch.arange(count) + 1) * samples) // (2 * max(1, count))
    return _parted(order, by_class[evenly])


def hold_out_fold(
    seed: int, samples: int, fold: int, folds: int, strata: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Hold out one fold for validation; for arguments and results see ``hold_out``.

    The folds of one seed partition the samples, and their sizes differ by at most one, as do those of each class.

    Args:
        seed: see ``hold_out``.
        samples: see ``hold_out``.
        fold: number of the fold, from 0.
        folds: how many there are.
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


def check_folds(folds: int | None, fold: int | None) -> None:
    """Check the settings of a cross-validation.

    Raises:
        ConfigError: one is set without the other, or there is no such fold.
    """
    if folds is None and fold is not None:
        raise ConfigError(f"data.fold={fold} needs the number of folds: set data.folds, or leave data.fold out.")
    if folds is not None and (fold is None or not 0 <= fold < folds):
        raise ConfigError(
            f"data.fold={'null' if fold is None else fold} must be from 0 to {folds - 1} with data.folds={folds}; data.fold=all "
            "with -m trains each of them."
        )


def check_fold_size(folds: int, samples: int) -> None:
    """Check that no fold is empty, and that there are others to train on.

    Raises:
        ConfigError: there are more folds than samples.
    """
    if folds > samples:
        raise ConfigError(f"data.folds={folds} must be at most {samples}, the number of samples to train on.")
