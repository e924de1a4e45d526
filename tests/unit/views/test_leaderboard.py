"""The importance of settings in a sweep's leaderboard."""

import random
from pathlib import Path

import pytest

from src.launching.stop import received
from src.views.leaderboard import make_leaderboard
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
