"""The Pareto front."""

import math
import random

import optuna
import pytest

from src.records.pareto import is_on_front
from src.sweeps.study import quiet_optuna


@pytest.mark.parametrize("modes", [["min"], ["max", "min"], ["min", "max", "max"]])
def test_the_front_is_that_of_optuna(modes: list[str]):
    quiet_optuna()
    draw = random.Random(0)
    points = [[draw.randint(0, 9) for _ in modes] for _ in range(80)]  # some are equal
    study = optuna.create_study(directions=["minimize" if mode == "min" else "maximize" for mode in modes])
    for point in points:
        study.add_trial(optuna.trial.create_trial(values=point))
    found = [number for number, front in enumerate(is_on_front(points, modes)) if front]
    assert found == [trial.number for trial in study.best_trials]
    assert 0 < len(found) < 80


def test_a_point_without_a_finite_value_is_not_on_the_front():
    points = [[None, 0], [math.nan, 0], [math.inf, 0], [1, 1], [1, 1], [2, 2]]
    assert is_on_front(points, ["min", "min"]) == [False, False, False, True, True, False]
