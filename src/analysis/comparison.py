"""Comparison of two configurations by the metric of their replicates: interval, equivalence, number of runs needed.

Intervals are those of Student's t, paired or Welch's. The folds of a cross-validation share training data, so that their
metrics are correlated and the variance of their mean is larger than s²/n: it is corrected to s²(1/n + 1/(k - 1)) for k folds,
also if they are repeated with several seeds (Nadeau and Bengio, Inference for the Generalization Error, Machine Learning 52,
2003; Bouckaert and Frank, Evaluating the Replicability of Significance Tests for Comparing Learning Algorithms, PAKDD 2004).
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scipy.special import nctdtr, stdtr, stdtrit

_POWER = 0.8
# Noncentrality from which the power is 1 to any digit shown, and the noncentral t distribution is not evaluated.
_CERTAIN = 30.0


@dataclass(frozen=True)
class Estimate:
    """Estimate of the difference between two means.

    Attributes:
        difference: mean of the second sample minus mean of the first.
        error: standard error of the difference.
        df: degrees of freedom of the t distribution; may be fractional.
    """

    difference: float
    error: float
    df: float

    def interval(self, confidence: float) -> tuple[float, float]:
        """Two-sided confidence interval of the difference."""
        half = float(stdtrit(self.df, (1 + confidence) / 2)) * self.error
        return self.difference - half, self.difference + half

    def is_within(self, margin: float, confidence: float) -> bool:
        """Whether the difference lies within ±margin by two one-sided t tests, each at level 1 - confidence."""
        if self.error == 0:
            return abs(self.difference) < margin
        return float(stdtr(self.df, (margin - abs(self.difference)) / self.error)) > confidence

    def power(self, confidence: float) -> float:
        """Probability that the interval lies on the observed side of 0 if difference and spread are the true ones.

        It follows from the noncentral t distribution.
        """
        shift = abs(self.difference) / self.error if self.error else math.inf if self.difference else 0.0
        if shift > _CERTAIN:
            return 1.0
        critical = float(stdtrit(self.df, (1 + confidence) / 2))
        return float(1 - nctdtr(self.df, shift, critical))


def paired(differences: Sequence[float], folds: int | None = None, n: int | None = None) -> Estimate:
    """Estimate from the differences of matched pairs.

    Args:
        differences: at least two.
        folds: number of folds, if the pairs are folds of a cross-validation.
        n: number of pairs, if the estimate is for more pairs with the same mean and spread.
    """
    n = n or len(differences)
    error = statistics.stdev(differences) * math.sqrt(_variance_of_mean(n, folds))
    return Estimate(statistics.fmean(differences), error, n - 1)


def welch(
    one: Sequence[float],
    other: Sequence[float],
    folds: tuple[int | None, int | None] = (None, None),
    n: tuple[int, int] | None = None,
) -> Estimate:
    """Estimate from two independent samples, whose variances may differ.

    Args:
        one: at least two values.
        other: at least two values.
        folds: number of folds of each, if its runs are folds of a cross-validation.
        n: size of each, if the estimate is for larger samples with the same means and spreads.
    """
    sizes = n or (len(one), len(other))
    parts = [
        statistics.variance(values) * _variance_of_mean(size, count)
        for values, size, count in zip((one, other), sizes, folds, strict=True)
    ]
    total = sum(parts)
    # Welch-Satterthwaite; without any spread it does not matter.
    df = (
        total**2 / sum(part**2 / (size - 1) for part, size in zip(parts, sizes, strict=True))
        if total
        else min(sizes) - 1
    )
    return Estimate(statistics.fmean(other) - statistics.fmean(one), math.sqrt(total), df)


def _variance_of_mean(n: int, folds: int | None) -> float:
    """Variance of the mean of n values of unit variance."""
    return 1 / n + (1 / (folds - 1) if folds else 0.0)


def seeds_needed(estimate: Callable[[int], Estimate], confidence: float, most: int) -> int | None:
    """The smallest number of further seeds that decides a difference with a power of 80%.

    Args:
        estimate: the estimate with a number of further seeds, if mean and spread stay as observed.
        confidence: confidence level of the interval that is to exclude 0.
        most: the maximum.

    Returns:
        The number; None if the maximum is not enough.
    """
    return next((count for count in range(1, most + 1) if estimate(count).power(confidence) >= _POWER), None)
