"""Intervals against scipy.stats, their coverage and the power of suggested seeds by simulation."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from src.analysis.comparison import Estimate, paired, seeds_needed, welch

EXPERIMENTS = 3000
# Three standard errors of a share of 95 % in so many experiments.
NEAR = 3 * math.sqrt(0.95 * 0.05 / EXPERIMENTS)


def draw(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def coverage(difference: float, one: Callable[[], Estimate]) -> float:
    """How often the 95 % interval contains the true difference."""
    intervals = [one().interval(0.95) for _ in range(EXPERIMENTS)]
    return sum(low <= difference <= high for low, high in intervals) / EXPERIMENTS


@pytest.mark.parametrize("n", [2, 3, 10])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_the_paired_interval_is_that_of_scipy(n: int, confidence: float):
    a, b = draw().normal(0, 1, n), draw(1).normal(0.5, 1, n)
    expected = stats.ttest_rel(b, a).confidence_interval(confidence)
    assert paired(list(b - a)).interval(confidence) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(("m", "n"), [(2, 2), (3, 8), (20, 5)])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_the_interval_of_welch_is_that_of_scipy(m: int, n: int, confidence: float):
    a, b = draw().normal(0, 1, m), draw(1).normal(0.5, 3, n)
    expected = stats.ttest_ind(b, a, equal_var=False).confidence_interval(confidence)
    assert welch(list(a), list(b)).interval(confidence) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("n", [3, 5, 12])
def test_paired_intervals_cover_the_true_difference(n: int):
    random = draw()
    assert coverage(0.3, lambda: paired(list(random.normal(0.3, 2, n)))) == pytest.approx(0.95, abs=NEAR)


@pytest.mark.parametrize(("m", "n"), [(4, 4), (4, 12)])
def test_intervals_of_welch_cover_the_true_difference(m: int, n: int):
    random = draw()
    covered = coverage(0.3, lambda: welch(list(random.normal(0, 1, m)), list(random.normal(0.3, 3, n))))
    assert covered == pytest.approx(0.95, abs=NEAR + 0.005)  # the degrees of freedom are approximate


@pytest.mark.parametrize("repetitions", [1, 3])
def test_intervals_over_folds_cover_the_true_difference(repetitions: int):
    """Under the correlation that the correction assumes, 1/k between any two runs."""
    folds, random = 5, draw()
    n = folds * repetitions

    def differences() -> list[float]:
        shared, own = math.sqrt(1 / folds) * random.normal(), math.sqrt(1 - 1 / folds) * random.normal(size=n)
        return list(0.3 + shared + own)

    assert coverage(0.3, lambda: paired(differences(), folds)) == pytest.approx(0.95, abs=NEAR)
    assert coverage(0.3, lambda: paired(differences())) < 0.9


def with_spread(mean: float, n: int) -> list[float]:
    """Values of this mean and of standard deviation 1."""
    values = np.arange(n) - (n - 1) / 2
    return list(mean + values / values.std(ddof=1))


@pytest.mark.parametrize("effect", [0.5, 1.0, 2.0])
def test_the_suggested_seeds_decide_four_of_five_paired_experiments(effect: float):
    values = with_spread(effect, 2)
    count = seeds_needed(lambda count: paired(values, n=2 + count), 0.95, most=1000)
    assert count is not None

    def decided(n: int) -> float:
        samples = draw().normal(effect, 1, (20_000, n))
        return float(np.mean((stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05) & (samples.mean(axis=1) > 0)))

    assert decided(2 + count) > 0.79
    assert decided(2 + count - 1) < 0.81


def test_the_suggested_seeds_decide_four_of_five_experiments_of_welch():
    a, b = with_spread(0, 4), [3 * value for value in with_spread(0.5, 4)]
    count = seeds_needed(lambda count: welch(a, b, n=(4 + count, 4 + count)), 0.95, most=1000)
    assert count is not None
    random, size = draw(), (20_000, 4 + count)
    found = stats.ttest_ind(random.normal(1.5, 3, size), random.normal(0, 1, size), axis=1, equal_var=False)
    assert np.mean(found.pvalue < 0.05) == pytest.approx(0.8, abs=0.03)


def test_no_number_of_seeds_decides_what_does_not_differ():
    assert seeds_needed(lambda count: paired([-1.0, 1.0], n=2 + count), 0.95, most=1000) is None
    # With folds, the standard error does not vanish.
    assert seeds_needed(lambda count: paired(with_spread(0.1, 5), 5, 5 + 5 * count), 0.95, most=1000) is None


def test_differences_without_spread_are_exact():
    same = paired([0.5, 0.5, 0.5])
    assert same.interval(0.95) == (0.5, 0.5)
    assert same.power(0.95) == 1
    assert same.is_within(0.6, 0.95)
    assert not same.is_within(0.4, 0.95)
    assert welch([1.0, 1.0], [1.0, 1.0]).power(0.95) < 0.8


def test_equivalence_is_two_one_sided_tests():
    """Equivalent at level 5 % where the 90 % interval lies within the margin."""
    values = list(draw().normal(0.1, 1, 20))
    low, high = paired(values).interval(0.9)
    bound = max(abs(low), abs(high))
    assert paired(values).is_within(bound * 1.001, 0.95)
    assert not paired(values).is_within(bound * 0.999, 0.95)
