"""Sweeps on this machine: what is told while they run, when they end early, how many jobs run at once."""

import io
import os
from pathlib import Path

import pytest
from rich.console import Console

from src.config.command_line import parse
from src.config.compose import make_plan
from src.records.record import Record
from src.records.sweep import Sweep
from src.sweeps.local import Failures, Grid, concurrent_jobs, default_n_jobs
from src.sweeps.status import Status
from tests.helpers.sweeps import GRID, a_grid, a_sweep, answer


def cores() -> int:
    return default_n_jobs([make_plan(parse(["trainer=cpu"])).configs[0]])


def test_a_grid_runs_what_is_not_done_and_not_left_out(tmp_path: Path):
    jobs = [["seed=1"], ["seed=2"], ["seed=3"], ["seed=4"]]
    sweep = a_grid(tmp_path / "s1", jobs[:2], [0.5, None])
    sweep.values |= {"jobs": jobs, "skipped": {"2": "r1"}}
    plan = make_plan(parse(["-m", "seed=1,2,3,4"]))
    grid = Grid(sweep, plan.composed)
    assert [grid.next_job(), grid.next_job(), grid.next_job()] == [(1, plan.composed[1]), (3, plan.composed[3]), None]
    assert [job.split("=")[1] for job in sweep.missing()] == ["4"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["trainer=cpu"], None),
        (["trainer=cpu", "hydra.launcher.n_jobs=3"], 3),
        (["trainer=cpu", "trainer.devices=2"], 1),
        (["trainer=cpu", f"trainer.threads={2 * (os.cpu_count() or 1)}"], 1),
        (["data=image_folder", "data.dir=data", "model.hidden=[8]"], 1),
        (["task=custom", "task._target_=examples.autoencoder.AutoEncoder"], None),
        (["trainer=cpu", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"], 2),
        (["trainer=cpu", "hydra/launcher=basic"], 1),
    ],
)
def test_by_default_jobs_of_a_core_with_data_in_memory_run_beside_each_other(words: list[str], expected: int | None):
    plan = make_plan(parse(["-m", *words, "seed=1,2,3,4"]))
    assert concurrent_jobs(plan, 4) == min(expected or cores(), 4)
    assert concurrent_jobs(plan, 1) == 1


def finished(sweep: Sweep, job: int) -> Record:
    return Record.load(sweep.directory / f"{job:03d}")


def test_the_status_counts_the_jobs_and_names_the_best(tmp_path: Path):
    sweep = a_grid(tmp_path / "s1", GRID[:1], [0.5])
    sweep.values |= {"jobs": GRID[:4], "trials": 4}
    answer(sweep.directory, lambda n: {"value": [0, 0.8, 0.7, None][n], "status": "failed" if n == 3 else "done"})(
        GRID[1:4], 1
    )
    for number in range(1, 4):  # they begin only now
        (sweep.directory / f"{number:03d}").rename(tmp_path / f"{number:03d}")
    text = io.StringIO()
    with Status(sweep, 2, Console(file=text, width=200, highlight=False)) as status:
        for number in (1, 2):
            status.start(number, GRID[number])
        assert status.line().startswith("1/4 done, 2 running, best 0.5")
        for number in range(1, 4):
            (tmp_path / f"{number:03d}").rename(sweep.directory / f"{number:03d}")
        status.end(2, finished(sweep, 2))
        status.end(1, finished(sweep, 1))
        assert status.line().startswith("3/4 done, 0 running, best 0.8000")
        assert status.line().endswith(" left")
        status.start(3, [*GRID[3], "hydra.launcher.n_jobs=2"])
        status.end(3, finished(sweep, 3))
        assert status.line().startswith("3/4 done, 0 running, 1 failed, best 0.8000")
    lines = text.getvalue().splitlines()
    assert lines == [
        "[2/4] job 002 done, best/val/acc 0.7000 (optimizer.lr=0.1 model.dropout=0 seed=2)",
        "[3/4] job 001 done, best/val/acc 0.8000 (optimizer.lr=0.1 model.dropout=0 seed=1)",
        "[4/4] job 003 failed (optimizer.lr=0.1 model.dropout=0 seed=3)",
    ]


def test_the_status_of_a_search_shows_what_is_left_of_its_time(tmp_path: Path):
    sweep = a_sweep(tmp_path / "s1", None)
    sweep.set_deadline(5)
    answer(sweep.directory, lambda n: {"value": 0.5})([["seed=1"]], 0)
    (sweep.directory / "000").rename(tmp_path / "000")
    text = io.StringIO()
    with Status(sweep, 2, Console(file=text, width=200, highlight=False)) as status:
        status.start(0, ["seed=1"])
        (tmp_path / "000").rename(sweep.directory / "000")
        status.end(0, finished(sweep, 0))
        assert status.line().startswith("1 done, 0 running, best 0.5")
        assert status.line().endswith((", 5m left", ", 4m 59s left"))
        sweep.values["trials"] = 1
        assert status.line().endswith(", 0s left")
    assert text.getvalue() == "[1] job 000 done, best/val/acc 0.5000 (seed=1)\n"


def test_a_single_job_at_a_time_is_announced(tmp_path: Path):
    sweep = a_grid(tmp_path / "s1", GRID[:1], [0.5])
    sweep.values["trials"] = 2
    text = io.StringIO()
    with Status(sweep, 1, Console(file=text, width=200, highlight=False)) as status:
        status.start(1, ["name=a b"])
        status.end(1, None)
    assert text.getvalue().splitlines() == ["job 001: 'name=a b'", "[2/2] job 001 failed ('name=a b')"]


def failed(error: str) -> Record:
    values = {"status": "failed", "error": error}
    return Record(Path("nowhere"), values)


def test_jobs_that_fail_alike_end_a_sweep():
    failures = Failures(3)
    failures.count(failed("the loss became nan at step 8"))
    failures.count(failed("the loss became nan at step 16"))
    failures.count(failed("out of memory"))
    failures.count(Record(Path("nowhere"), {"status": "done", "error": None}))
    failures.count(None)
    assert not failures.limit_reached
    failures.count(failed("the loss became nan at step 24"))
    assert (
        failures.limit_reached
        == "3 jobs have failed with the same error, the last with 'the loss became nan at step 24'"
    )
    of_a_search = Failures(None, first=2)
    of_a_search.count(failed("out of memory"))
    assert not of_a_search.limit_reached
    of_a_search.count(failed("out of memory"))
    assert of_a_search.limit_reached
    after_a_success = Failures(None, first=2)
    after_a_success.count(Record(Path("nowhere"), {"status": "done", "error": None}))
    endless = Failures(None)
    for _ in range(100):
        endless.count(failed("out of memory"))
        after_a_success.count(failed("out of memory"))
    assert not endless.limit_reached
    assert not after_a_success.limit_reached
