"""Hyperparameter importance within a sweep: explained variance for grids, PED-ANOVA for searches."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from optuna.distributions import BaseDistribution

# PED-ANOVA evaluates this fraction of the trials, the best ones; Optuna recommends at least this number of them.
_BEST, _BEST_COUNT = 0.1, 5


@dataclass(frozen=True)
class Importance:
    """Importance of each setting.

    Attributes:
        measure: name of the importance measure.
        settings: importance of each setting, from 0 to 1, in descending order.
        rest: for explained variance, the fraction that no setting explains: interactions and seeds.
    """

    measure: str
    settings: dict[str, float]
    rest: dict[str, float]

    def __str__(self) -> str:
        shares = [
            ", ".join(f"{name} {share:.2f}" for name, share in part.items()) for part in (self.settings, self.rest)
        ]
        return f"{self.measure}: {'; '.join(filter(None, shares))}"


def explained_variance(levels: Mapping[str, Sequence[str]], values: Sequence[float]) -> Importance | None:
    """Fraction of the variance of ``values`` explained by each setting: the main effects of an ANOVA.

    The importance of a setting is its type II sum of squares, the increase of the residual sum of squares of the additive model
    without it, divided by the total sum of squares. On a complete grid the fractions and the rest sum to 1; on an incomplete
    grid a setting is assigned only variance that no other setting can explain. Runs that differ only in their seed or fold are
    replicates; their variance is attributed to the seeds.

    Args:
        levels: the value of each setting in each run, as typed; every setting has at least two distinct values.
        values: the metric of each run.

    Returns:
        None if the result would be meaningless: no variance, settings that vary only together, or fewer residual degrees of
        freedom than those of the settings, so that the settings would seem to explain half of pure noise or more.
    """
    import numpy as np

    y = np.array(values, dtype=np.float64)
    columns = {name: _indicators(words) for name, words in levels.items()}
    taken = sum(len(part[0]) for part in columns.values())
    if not columns or len(y) - 1 < 2 * taken or (total := float(((y - y.mean()) ** 2).sum())) == 0:
        return None

    def unexplained(parts: Sequence["np.ndarray[Any, Any]"]) -> float:
        model = np.column_stack([np.ones((len(y), 1)), *parts])
        return float(((y - model @ np.linalg.lstsq(model, y, rcond=None)[0]) ** 2).sum())

    additive = np.column_stack([np.ones((len(y), 1)), *columns.values()])
    if np.linalg.matrix_rank(additive) < 1 + taken:
        return None
    left = unexplained(list(columns.values()))
    shares = {
        name: max(0.0, unexplained([part for other, part in columns.items() if other != name]) - left) / total
        for name in columns
    }
    points = list(zip(*levels.values(), strict=True))
    cells = _indicators([repr(point) for point in points])
    within = unexplained([cells])
    rest = {}
    if len(set(points)) > 1 + taken:
        rest["interactions"] = max(0.0, left - within) / total
    if len(set(points)) < len(points):
        rest["seeds"] = within / total
    elif rest:
        rest = {"interactions and seed": rest["interactions"]}
    return Importance("explained variance (ANOVA main effects)", _sorted(shares), rest)


def _indicators(words: Sequence[str]) -> "np.ndarray[Any, Any]":
    """Dummy variables of a setting, (runs, levels - 1): one column for each level except the first."""
    import numpy as np

    return np.array([[float(word == level) for level in sorted(set(words))[1:]] for word in words])


def ped_anova(
    levels: Mapping[str, Sequence[str]], values: Sequence[float], *, low_is_better: bool
) -> Importance | None:
    """PED-ANOVA importance of each setting for a trial being among the best tenth (Watanabe and others, 2023), by Optuna.

    Args:
        levels: the value of each setting in each trial, as typed; every setting has at least two distinct values.
        values: the metric of each trial.
        low_is_better: whether lower values are better.

    Returns:
        None for fewer than 50 trials, of which a tenth would be too few.
    """
    if not levels or len(values) * _BEST < _BEST_COUNT or len(set(values)) < 2:
        return None
    import optuna

    columns: dict[str, Sequence[Any]] = {}
    distributions: dict[str, BaseDistribution] = {}
    for name, words in levels.items():
        columns[name], distributions[name] = _dimension(words)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study(direction="minimize" if low_is_better else "maximize")
        for number, value in enumerate(values):
            params = {name: column[number] for name, column in columns.items()}
            study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=value))
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=_BEST)
        shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return Importance(f"PED-ANOVA of the best {_BEST:.0%} of {len(values)} trials", _sorted(shares), {})


def _dimension(words: Sequence[str]) -> tuple[Sequence[Any], "BaseDistribution"]:
    """Convert values to a distribution: numerical if there are more than two values and all are numbers, else categorical."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    if not numbers or len(set(words)) <= 2:
        return words, CategoricalDistribution(sorted(set(words)))
    low, high = min(numbers), max(numbers)
    return numbers, FloatDistribution(low, high, log=low > 0 and high / low > 30)


def _sorted(shares: Mapping[str, float]) -> dict[str, float]:
    return dict(sorted(shares.items(), key=lambda one: -one[1]))
