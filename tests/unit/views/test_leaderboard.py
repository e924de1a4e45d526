"""The importance of settings in a sweep's leaderboard."""

import io
import random
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from src.launching.stop import received
from src.views.events import sweep_event
from src.views.leaderboard import make_leaderboard, print_front
from src.views.overview import print_overview
from tests.helpers.sweeps import GRID, NOISE, a_grid, a_sweep, answer

# -- replicates


def test_folds_are_replicates_of_a_configuration_as_seeds_are(tmp_path: Path):
    jobs = [
        ["data.folds=3", f"data.fold={fold}", f"seed={seed}", f"optimizer.lr={lr}"]
        for lr in (0.1, 0.01)
        for seed in (0, 1)
        for fold in range(3)
    ]
    values = [(0.8 if number < 6 else 0.6) + 0.01 * (number % 6) for number in range(12)]
    board = make_leaderboard(a_grid(tmp_path / "s1", jobs, values))
    assert board.keys == ["optimizer.lr"]
    assert [(row.settings, len(row.jobs)) for row in board.rows] == [
        ({"optimizer.lr": lr}, 6) for lr in ("0.1", "0.01")
    ]
    assert board.rows[0].mean == pytest.approx(0.825)
    assert board.importance is not None
    assert board.importance.settings.keys() == {"optimizer.lr"}
    assert board.importance.rest.keys() == {"seeds"}


# -- the search itself, with jobs that only write their record


def test_an_incomplete_grid_credits_a_setting_with_what_no_other_explains(tmp_path: Path):
    """Of one dropout nearly all jobs with the better rate are lacking, so that its mean is lower, by the rate alone."""
    values = [0.5 + 0.4 * (number >= 8) + noise for number, noise in enumerate(NOISE)]
    lacking = [*values[:9], None, None, None, *values[12:]]
    found = make_leaderboard(a_grid(tmp_path / "s1", GRID, lacking)).importance
    assert found is not None
    assert found.settings["model.dropout"] < 0.01
    assert found.settings["optimizer.lr"] > 0.7


@pytest.mark.parametrize(
    ("jobs", "values"),
    [
        (GRID[::4], [0.1, 0.2, 0.3, 0.5]),  # a setting takes one degree of freedom, and one is left
        ([GRID[number] for number in (0, 1, 2, 3, 12, 13, 14, 15)], [0.1, 0.2, 0.3, 0.2, 0.7, 0.8, 0.9, 0.8]),
        (GRID[:8], [0.5] * 8),
        (GRID[:8], [None] * 8),
    ],
    ids=["too few jobs", "settings that vary together", "no variance", "no values"],
)
@pytest.mark.filterwarnings("error")
def test_no_importance_is_shown_where_a_grid_cannot_tell(
    tmp_path: Path, jobs: list[list[str]], values: list[float | None]
):
    assert make_leaderboard(a_grid(tmp_path / "s1", jobs, values)).importance is None


@pytest.mark.parametrize("trials", [49, 50])
def test_the_importance_in_a_search_is_ped_anova_from_fifty_trials_on(tmp_path: Path, trials: int):
    sweep = a_sweep(tmp_path / "s1", trials, sampler="random")
    draw = random.Random(0)
    jobs = [[f"optimizer.lr={10 ** draw.uniform(-4, 0)}", f"model.width={draw.randint(8, 32)}"] for _ in range(trials)]
    answer(sweep.directory, lambda n: {"value": float(jobs[n][1].partition("=")[2])})(jobs, 0)
    board = make_leaderboard(sweep)
    assert board.rows[0].mean == 32.0
    if trials < 50:
        assert board.importance is None
    else:
        assert board.importance is not None
        assert board.importance.measure == "PED-ANOVA of the best 10% of 50 trials"
        assert board.importance.settings["model.width"] > 0.5
    assert not received()


# -- several objectives


def test_the_front_is_that_of_the_means_and_its_rows_come_first_with_their_commands(tmp_path: Path):
    sweep = a_sweep(tmp_path / "s1", 6, {"val/acc": "max", "latency_ms": "min"})
    widths = [8, 8, 64, 32, 16, 128]
    jobs = [[f"model.width={width}", f"seed={number}"] for number, width in enumerate(widths)]
    accuracy, latency = [0.95, 0.75, 0.9, 0.8, None, 0.9], [1.0, 1.0, 3.0, 4.0, 1.0, 3.0]

    def result(number: int) -> dict[str, Any]:
        status = "done" if accuracy[number] else "failed"
        return {
            "value": accuracy[number],
            "status": status,
            "metrics": {"latency_ms": latency[number]},
            "command": f"python -m src.train {jobs[number][0]}",
        }

    answer(sweep.directory, result)(jobs, 0)
    board = make_leaderboard(sweep)
    assert [(row.settings["model.width"], row.front) for row in board.rows] == [
        ("64", True), ("128", True), ("8", True), ("32", False), ("16", False)
    ]  # fmt: skip
    plain = board.as_plain()
    assert plain["objectives"] == {"best/val/acc": "max", "latency_ms": "min"}
    assert [row["front"] for row in plain["rows"]] == [True, True, True, False, False]
    assert plain["rows"][2]["others"] == {"latency_ms": [1.0, 1.0]}
    assert board.cells(board.rows[2])[:5] == ["done", "yes", "0.8500", "0.1414", "2"]
    text = "best/val/acc 0.8500, latency_ms 1.000"
    assert f"    # {text}\n    python -m src.train model.width=8\n" in board.as_markdown()
    console = Console(file=io.StringIO(), width=200, highlight=False)
    print_overview(sweep, console)
    shown = console.file.getvalue()
    assert "Pareto front of best/val/acc (max) and latency_ms (min): 3 of 4 configurations:" in shown
    assert f"  {text}\n    python -m src.train model.width=8\n" in shown
    assert "best: " not in shown
    assert "3 on the Pareto front" in sweep_event(sweep, 0).text


def test_a_few_commands_of_a_long_front_are_printed_among_them_its_ends(tmp_path: Path):
    sweep = a_sweep(tmp_path / "s1", 9, {"val/acc": "max", "latency_ms": "min"})
    jobs = [[f"model.width={number}"] for number in range(9)]
    answer(sweep.directory, lambda n: {"value": n / 10, "metrics": {"latency_ms": n}, "command": f"train {n}"})(jobs, 0)
    console = Console(file=io.StringIO(), width=200, highlight=False)
    print_front(make_leaderboard(sweep), console)
    first, *rest = console.file.getvalue().splitlines()
    assert first.endswith("9 of 9 configurations, of which 5:")
    assert [line.strip() for line in rest[1::2]] == ["train 8", "train 6", "train 4", "train 2", "train 0"]


def test_the_importance_is_that_for_each_objective(tmp_path: Path):
    sweep = a_sweep(tmp_path / "s1", 50, {"val/acc": "max", "flops": "min"}, sampler="random")
    draw = random.Random(0)
    jobs = [[f"optimizer.lr={10 ** draw.uniform(-4, 0)}", f"model.width={draw.randint(8, 32)}"] for _ in range(50)]
    values = [[float(word.partition("=")[2]) for word in job] for job in jobs]
    answer(sweep.directory, lambda n: {"value": values[n][0], "metrics": {"flops": values[n][1]}})(jobs, 0)
    importances = make_leaderboard(sweep).importances
    assert {metric: next(iter(one.settings)) for metric, one in importances.items()} == {
        "best/val/acc": "optimizer.lr", "flops": "model.width"
    }  # fmt: skip
