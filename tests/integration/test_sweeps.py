"""A sweep begun in the evening: every result is there in the morning, whatever failed in the night."""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from src.views.leaderboard import make_leaderboard
from tests.conftest import Command
from tests.helpers.sweeps import GRID, NOISE, a_grid


@pytest.mark.parametrize("devices", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_trial_that_promises_nothing_is_pruned(train: Command, devices: int):
    done = train(
        "-m",
        "hydra/sweeper=optuna",
        "hydra.sweeper.sampler=grid",
        "hydra.sweeper.pruner=median",
        "hydra.sweeper.startup_trials=2",
        "hydra.sweeper.n_trials=4",
        "optimizer.lr=choice(0.01,1e-9)",
        "seed=choice(1,2)",
        "trainer.max_epochs=4",
        f"trainer.devices={devices}",
    )
    assert done.status == 0, done.stdout + done.stderr
    pruned = [run for run in done.runs if run.get("pruned_in_epoch")]
    assert pruned
    for run in pruned:
        assert run["config"]["optimizer"]["lr"] == 1e-9
        assert 1 <= run["pruned_in_epoch"] < 4
        assert "test/acc" not in run["metrics"]
    assert "pruned in epoch" in done.stdout


@pytest.mark.parametrize("word", ["latest", "s2026", "nothing"])
def test_a_sweep_that_is_not_there(here: Command, word: str):
    for done in (here("runs", "ls", "--sweep", word), here("train", "-m", f"resume={word}")):
        assert done.status == 1
        assert "there is no sweep yet" in done.stderr


# -- the search itself, with jobs that only write their record


def test_the_importance_in_a_grid_is_the_variance_that_a_setting_explains(outputs: Path, here: Command):
    means = [0.8, 0.79, 0.85, 0.85]  # of the four points
    values = [means[number // 4] + noise for number, noise in enumerate(NOISE)]
    sweep = a_grid(outputs / "sweeps" / "s1", GRID, values)
    mean = sum(values) / 16
    total = sum((value - mean) ** 2 for value in values)

    def between(groups: Sequence[Sequence[float]]) -> float:
        return sum(len(group) * (sum(group) / len(group) - mean) ** 2 for group in groups) / total

    points = [values[at : at + 4] for at in range(0, 16, 4)]
    lr = between([values[:8], values[8:]])
    dropout = between([points[0] + points[2], points[1] + points[3]])
    found = make_leaderboard(sweep).importance
    assert found is not None
    assert found.settings == pytest.approx({"optimizer.lr": lr, "model.dropout": dropout})
    assert found.rest == pytest.approx({"interactions": between(points) - lr - dropout, "seeds": 1 - between(points)})
    label = (
        f"explained variance (ANOVA main effects): optimizer.lr {lr:.2f}, model.dropout {dropout:.2f}; interactions "
    )
    shown = here("runs", "ls", "--sweep", "s1")
    assert f"importance for best/val/acc, {label}" in shown.stdout, shown.stderr
    assert f"Importance for best/val/acc, {label}" in make_leaderboard(sweep).as_markdown()
    assert make_leaderboard(sweep).as_plain()["importance"]["measure"] in label


def test_a_storage_is_checked_before_a_sweep_writes_anything(train_here: Command, tmp_path: Path):
    lacking = f"sqlite:///{tmp_path}/lacking/study.db"
    done = train_here("-m", "hydra/sweeper=optuna", "seed=1,2", f"hydra.sweeper.storage={lacking}")
    assert done.status == 2
    assert done.stderr == (
        f"error: hydra.sweeper.storage={lacking}: there is no directory {tmp_path}/lacking: create it, or name another.\n"
    )
    assert not done.outputs.exists()


def test_a_search_for_accuracy_and_cost_measures_both_and_shows_the_front(train: Command, command: Command):
    done = train("-m", "sweep=pareto", "hydra.sweeper.objectives=[val/acc,flops]", "hydra.sweeper.n_trials=2")
    assert done.status == 0, done.stdout + done.stderr
    for run in done.runs:
        hidden, found = run["config"]["model"]["hidden"], run["metrics"]
        sizes = [28 * 28, *hidden, 10]
        products = sum(a * b for a, b in pairwise(sizes))
        assert (found["flops"], found["parameters"]) == (2 * products, products + sum(sizes[1:]))
        assert found["bytes"] == 4 * found["parameters"]
        assert 0 < found["latency_ms"] < found["latency_ms_256"]
        assert run["fast_path"]
    assert "Pareto front of best/val/acc (max) and flops (min): " in done.stdout
    board = json.loads(command("runs", "ls", "--sweep", "latest", "--json").stdout)
    front = [row for row in board["rows"] if row["front"]]
    assert all(row["command"] in done.stdout for row in front)
    shown = json.loads(command("runs", "summary", "--sweep", "latest", "--json").stdout)["front"]
    assert [run["command"] for run in shown["runs"]] == [row["command"] for row in front]
    again = command("train", "-m", f"resume={done.runs[0]['sweep']}")
    assert "there is nothing to resume" in again.stdout
