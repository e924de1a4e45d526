"""The jobs of a cross-validation."""

import pytest

from src.config.command_line import parse
from src.config.compose import make_plan, preflight
from src.errors import ConfigError


def test_all_folds_are_jobs_and_every_seed_has_them():
    plan = make_plan(parse(["-m", "data.folds=3", "data.fold=all", "seed=1,2"]))
    found = [(config["seed"], config["data"]["folds"], config["data"]["fold"]) for config in plan.configs]
    assert sorted(found) == [(seed, 3, fold) for seed in (1, 2) for fold in range(3)]
    assert all("all" not in " ".join(job) for job in plan.jobs or [])


def test_a_single_fold_is_a_run():
    [config] = preflight(parse(["data.folds=5", "data.fold=4"]))
    assert config["monitor"] == "val/acc"
    [points] = preflight(parse(["data=points", "data.folds=2", "data.fold=0", "monitor=val/loss"]))
    assert points["data"]["val_size"] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data.folds=3", "data.fold=all"], "data.fold=all trains each fold, which needs -m"),
        (
            ["-m", "data.fold=all"],
            "data.fold=all needs the number of folds on the command line, and there is no data.folds",
        ),
        (["-m", "data.folds=2,3", "data.fold=all"], "and there is data.folds=2,3: set data.folds=5"),
        (["-m", "data.folds=1", "data.fold=all"], "and there is data.folds=1"),
        (["-m", "hydra/sweeper=optuna", "data.folds=3", "data.fold=all"], "a search would choose the easiest fold"),
        (["data.folds=1", "data.fold=0"], "data.folds=1 must be at least 2"),
        (["data.folds=3", "data.fold=0", "data.val_size=100"], "data.val_size=100 is not used with data.folds=3"),
    ],
)
def test_folds_that_cannot_be_trained_are_refused(words: list[str], message: str):
    with pytest.raises(ConfigError) as refused:
        preflight(parse(words))
    assert message in str(refused.value)
