"""Mean and spread of the curves of replicates."""

import math
import statistics
from collections.abc import Sequence

import pytest

from src.views.bands import band, bands_of
from src.views.scalars import Point


def curve(*points: tuple[int, float]) -> list[Point]:
    return [Point(step, 0.0, value) for step, value in points]


def rows(curves: Sequence[Sequence[Point]]) -> list[tuple[int, int, float]]:
    return [(point.step, point.n, pytest.approx(point.mean)) for point in band(curves)]


def test_mean_and_spread_are_those_of_the_values_at_each_step():
    values = [0.5, 0.75, 0.625]
    first, last = band([curve((10, value), (20, 2 * value)) for value in values])
    assert (first.step, first.n, first.min, first.max) == (10, 3, 0.5, 0.75)
    assert first.mean == pytest.approx(statistics.fmean(values))
    assert first.std == pytest.approx(statistics.stdev(values))
    assert (last.step, last.mean, last.std) == (20, pytest.approx(2 * first.mean), pytest.approx(2 * (first.std or 0)))


def test_a_single_curve_has_a_mean_and_no_spread():
    [point] = band([curve((10, 0.5))])
    assert point == (10, 1, 0.5, None, 0.5, 0.5)
    assert band([]) == []


def test_epochs_of_folds_of_different_sizes_belong_together():
    assert rows([curve((7, 1), (14, 3)), curve((8, 2), (16, 4))]) == [(8, 2, 1.5), (15, 2, 3.5)]


def test_n_decreases_where_runs_have_ended():
    assert rows([curve((10, 1), (20, 2), (30, 3)), curve((10, 3))]) == [(10, 2, 2), (20, 1, 2), (30, 1, 3)]


def test_curves_of_different_lengths_are_aligned_by_step():
    assert rows([curve((10, 1), (20, 1), (30, 1)), curve((15, 2), (25, 4))]) == [(10, 1, 1), (20, 2, 2), (30, 1, 1)]


def test_non_finite_values_are_left_out():
    diverged = curve((10, 2), (20, math.nan), (30, math.inf))
    assert rows([curve((10, 1), (20, 1), (30, 1)), diverged]) == [(10, 2, 1.5), (20, 1, 1), (30, 1, 1)]
    # A step at which no curve has a finite value has no point.
    assert rows([diverged, diverged]) == [(10, 2, 2)]
    # The neighbours of NaN keep their values if they are interpolated.
    assert rows([curve((10, 1), (20, 1), (30, 1), (40, 1)), diverged])[:2] == [(10, 2, 1.5), (20, 1, 1)]


def test_each_metric_is_averaged_over_the_runs_that_have_it():
    found = bands_of([{"val/acc": curve((10, 1)), "lr": curve((10, 0.1))}, {"val/acc": curve((10, 2))}])
    assert {tag: [(point.n, point.mean) for point in points] for tag, points in found.items()} == {
        "lr": [(1, 0.1)],
        "val/acc": [(2, 1.5)],
    }
