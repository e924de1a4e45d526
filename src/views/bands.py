"""Mean and spread of the curves of replicates."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from src.records.replicates import Replicates
from src.views.scalars import Point, curves

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class BandPoint(NamedTuple):
    """Mean and spread of several curves at a step.

    Attributes:
        step: the optimizer step.
        n: number of curves with a finite value at this step, at least 1.
        mean: mean of their values.
        std: their sample standard deviation, with n - 1 in the denominator; None for a single value.
        min: the lowest value.
        max: the highest value.
    """

    step: int
    n: int
    mean: float
    std: float | None
    min: float
    max: float


# The columns of ``mean_points``.
MEAN_FIELDS = ("run", "tag", *BandPoint._fields)


def mean_points(groups: Iterable[Replicates]) -> Iterator[tuple[Any, ...]]:
    """All points of the mean curves of these configurations; a run is the latest of its configuration."""
    for one in groups:
        for tag, curve in bands(one).items():
            for point in curve:
                yield one.runs[-1].values["id"], tag, *point


def bands(replicates: Replicates) -> dict[str, list[BandPoint]]:
    """``band`` of each curve by tag, over the runs that count: the latest finished run of each seed and fold."""
    return bands_of([curves(record.directory) for record in replicates.used])


def bands_of(runs: Sequence[Mapping[str, Sequence[Point]]]) -> dict[str, list[BandPoint]]:
    """``band`` of each curve by tag.

    Args:
        runs: the curves of each run, as returned by ``src.views.scalars.curves``.
    """
    tags = sorted({tag for run in runs for tag in run})
    return {tag: found for tag in tags if (found := band([run[tag] for run in runs if run.get(tag)]))}


def band(curves: Sequence[Sequence[Point]]) -> list[BandPoint]:
    """Mean and spread of curves of one metric.

    Curves with the same number of points are aligned by it: the points of an epoch belong together even if folds of different
    sizes have different numbers of steps per epoch; the step is their mean. Other curves, as of runs that were stopped early,
    are aligned by step, at the steps of the one that lasts longest, with linear interpolation between the points of the others;
    n decreases where curves have ended. NaN and Inf are left out.

    Args:
        curves: non-empty curves, in the order of the steps.
    """
    import numpy as np  # takes 0.1 s

    if not curves:
        return []
    if len({len(curve) for curve in curves}) == 1:
        steps = np.mean([[point.step for point in curve] for curve in curves], axis=0).round()
        values = np.array([[point.value for point in curve] for curve in curves])
    else:
        longest = max(curves, key=lambda curve: (curve[-1].step, len(curve)))
        steps = np.array([point.step for point in longest], float)
        values = np.array([_interpolated(curve, steps) for curve in curves])
    found = []
    for step, column in zip(steps, values.T, strict=True):
        finite = column[np.isfinite(column)]
        if n := len(finite):
            mean, std = float(finite.mean()), float(finite.std(ddof=1)) if n > 1 else None
            found.append(BandPoint(int(step), n, mean, std, float(finite.min()), float(finite.max())))
    return found


def _interpolated(curve: Sequence[Point], steps: "npt.NDArray[np.float64]") -> "npt.NDArray[np.float64]":
    """The values of a curve at these steps; NaN before its first and after its last point."""
    import numpy as np

    known = [point.step for point in curve], [point.value for point in curve]
    return np.interp(steps, *known, left=math.nan, right=math.nan)
