"""A sweep begun in the evening: every result is there in the morning, whatever failed in the night."""

import csv
import io
import json
import math
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from src.config.command_line import CommandLine, parse
from src.config.compose import make_plan
from src.config.space import split_space
from src.errors import ConfigError, UserError
from src.launching.share import gpus_of_a_job
from src.launching.stop import received
from src.paths import ROOT
from src.records.record import Record
from src.records.sweep import Sweep
from src.sweeps.resume import check_unchanged
from src.sweeps.storage import check_storage
from src.sweeps.study import open_study, search, trial_of
from src.views.leaderboard import make_leaderboard
from tests.conftest import SMALL, Command, Finished, copy_of_the_project

JOBLIB = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
ONE = ["trainer.max_epochs=1"]
# A model that may fail in three ways, by its width, where the environment says so; and that may hang.
FAULTY = """
import os, signal, time

import torch
from torch import nn


class Faulty(nn.Module):
    def __init__(self, *, input_shape, outputs, width):
        super().__init__()
        self.width = width
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(784, width), nn.ReLU(), nn.Linear(width, outputs))

    def forward(self, x):
        fault = os.environ.get("FAULTS") and {2: "raise", 3: "kill", 4: "nan", 90: "hang"}.get(self.width)
        if fault == "raise":
            raise RuntimeError("the trap")
        if fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "hang":
            time.sleep(1000)
        return self.layers(x) * (float("nan") if fault == "nan" else 1.0)
"""
NO_MODEL = [word for word in SMALL if not word.startswith("model.")]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = copy_of_the_project(tmp_path / "project")
    (folder / "src" / "models" / "faulty.py").write_text(FAULTY)
    (folder / "conf" / "model" / "faulty.yaml").write_text("_target_: src.models.faulty.Faulty\nwidth: 8\n")
    return folder


def begin(project: Path, outputs: Path, *words: str, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "src.train", *NO_MODEL, "model=faulty", *words],
        cwd=project,
        env={**os.environ, "OUTPUTS_DIR": str(outputs), "COLUMNS": "200", "PYTHONPATH": str(project), **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def end(process: subprocess.Popen[str], outputs: Path) -> Finished:
    said, _ = process.communicate(timeout=250)
    return Finished(process.returncode, said, said, outputs)


def resume(project: Path, outputs: Path, *words: str) -> Finished:
    done = subprocess.run(
        [sys.executable, "-m", "src.train", "-m", "resume=latest", *words],
        cwd=project,
        env={**os.environ, "OUTPUTS_DIR": str(outputs), "COLUMNS": "200", "PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
        timeout=250,
    )
    return Finished(done.returncode, done.stdout, done.stderr, outputs)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [7, 12])
def test_three_faults_cost_three_jobs_and_a_resume_makes_up_for_them(project: Path, outputs: Path, jobs: int):
    grid = f"model.width=range(1,{jobs + 1})"
    done = end(begin(project, outputs, "-m", grid, *ONE, *JOBLIB, FAULTS="1"), outputs)
    assert done.status == 1
    assert [run["status"] for run in done.runs] == ["done", *["failed"] * 3, *["done"] * (jobs - 4)]
    for number, message in ((1, "the trap"), (2, "SIGKILL"), (3, "became nan")):
        run = done.runs[number]
        assert message in run["error"]
        line = next(line for line in done.stdout.splitlines() if line.startswith(f"{run['id']}: ") and "(see" in line)
        assert message in line
        assert (Path(re.search(r"\(see (.*)\)", line)[1])).is_file()  # type: ignore[index]
    assert "Traceback" not in done.stdout
    assert f"-m resume={done.runs[0]['sweep']}" in done.stdout
    before = {run["id"]: run for run in done.runs}
    again = resume(project, outputs)
    assert again.status == 0, again.stdout + again.stderr
    assert [run["status"] for run in again.runs] == ["done"] * jobs
    for run in again.runs:
        assert (run == before[run["id"]]) == (before[run["id"]]["status"] == "done")
    assert "nothing to resume" in resume(project, outputs).stdout
    alone = [4] if jobs < 12 else range(jobs)
    for number in alone:
        assert end(begin(project, outputs, f"model.width={number + 1}", *ONE), outputs).status == 0
    singles, in_sweep = again.runs[: len(alone)], again.runs[len(alone) :]
    assert [run["metrics"] for run in singles] == [in_sweep[number]["metrics"] for number in alone]


@pytest.mark.slow
@pytest.mark.parametrize("trials", [6, 25])
def test_a_search_goes_past_its_failures_and_is_resumed_where_it_was_killed(project: Path, outputs: Path, trials: int):
    widths = list(range(1, trials + 1))
    words = ["-m", "hydra/sweeper=optuna", "hydra.sweeper.sampler=grid", f"hydra.sweeper.n_trials={trials}", *ONE]
    process = begin(project, outputs, *words, f"model.width=choice({','.join(map(str, widths))})", FAULTS="1")
    until = time.monotonic() + 200
    while len(list(outputs.glob("sweeps/*/*/run.json"))) < (trials + 1) // 2:
        assert time.monotonic() < until
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    before = Finished(0, "", "", outputs).runs
    kept = [run for run in before if run["status"] == "done"]
    if trials > 6:  # by then it has gone past all three
        assert [run["status"] for run in before[:5]] == ["done", "failed", "failed", "failed", "done"]
    done = resume(project, outputs)
    assert done.status == 0, done.stdout + done.stderr
    runs = done.runs
    assert [run["status"] for run in runs] == ["done"] * trials
    assert sorted(run["config"]["model"]["width"] for run in runs) == widths
    assert [run["id"][-3:] for run in runs] == [f"{number:03d}" for number in range(trials)]
    for run in kept:
        assert run in runs


@pytest.mark.slow
def test_identical_searches_train_identical_trials_even_if_one_is_killed_and_resumed(project: Path, tmp_path: Path):
    words = ["-m", "hydra/sweeper=optuna", "hydra.sweeper.pruner=hyperband", "hydra.sweeper.startup_trials=2"]
    words += ["hydra.sweeper.n_trials=4", "trainer.max_epochs=3", "model.width=range(5,50)"]
    words += ["optimizer.lr=tag(log,interval(1e-4,1))"]

    def trials(outputs: Path) -> list[Any]:
        runs = Finished(0, "", "", outputs).runs
        assert [run["status"] for run in runs] == ["done"] * 4
        return [(run["overrides"], run.get("pruned_in_epoch"), run["best"]["value"]) for run in runs]

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    done = end(begin(project, whole, *words), whole)
    assert done.status == 0, done.stdout
    process = begin(project, killed, *words)
    until = time.monotonic() + 200
    while not list(killed.glob("sweeps/*/002/run.json")):
        assert time.monotonic() < until
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    done = resume(project, killed)
    assert done.status == 0, done.stdout + done.stderr
    assert trials(killed) == trials(whole)


@pytest.mark.slow
def test_a_search_that_loses_its_storage_ends_with_a_message_and_the_way_to_resume_it(project: Path, outputs: Path):
    storage = outputs.with_name("study.db")
    words = [
        "-m",
        "hydra/sweeper=optuna",
        "model.width=range(5,50)",
        f"hydra.sweeper.storage=sqlite:///{storage}",
        *ONE,
    ]
    process = begin(project, outputs, *words)
    until = time.monotonic() + 200
    while not list(outputs.glob("sweeps/*/000/run.json")):
        assert time.monotonic() < until
        time.sleep(0.01)
    storage.write_text("no database any more")
    done = end(process, outputs)
    assert done.status == 1
    assert "error: the search has lost its storage (file is not a database)" in done.stdout
    assert f"-m resume={done.runs[0]['sweep']}" in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.slow
def test_a_sweep_told_to_stop_ends_its_workers_and_names_what_was_not_run(project: Path, outputs: Path):
    words = ["-m", "model.width=5,6,7,8,9", "trainer.max_epochs=300", *JOBLIB]
    process = begin(project, outputs, *words)
    until = time.monotonic() + 200
    while len(list(outputs.glob("sweeps/*/*/checkpoints/last.ckpt"))) < 2:
        assert time.monotonic() < until
        time.sleep(0.05)
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    done = end(process, outputs)
    assert done.status == 143, done.stdout
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not [child for child in alive if child.status() != psutil.STATUS_ZOMBIE]
    assert [run["status"] for run in done.runs] == ["interrupted"] * 2
    assert sum(line.startswith("not run: ") for line in done.stdout.splitlines()) == 3
    assert "Traceback" not in done.stdout


@pytest.mark.slow
def test_jobs_beside_each_other_equal_jobs_after_each_other(train: Command):
    words = ["-m", "seed=1,2", "trainer.devices=1,2", "model.dropout=0.2", *ONE]
    serial = train(*words)
    assert serial.status == 0, serial.stdout + serial.stderr
    both = train(*words, *JOBLIB)
    assert both.status == 0, both.stdout + both.stderr
    runs = both.runs
    assert [run["metrics"] for run in runs[:4]] == [run["metrics"] for run in runs[4:]]
    assert {run["environment"]["threads"] for run in runs} == {1}
    assert len({run["environment"]["pid"] for run in runs[4:]}) == 2


@pytest.mark.slow
def test_a_job_that_hangs_past_its_time_costs_that_job(project: Path, outputs: Path):
    words = ["-m", "model.width=5,90", "trainer.max_minutes=0.05", *ONE]
    done = end(begin(project, outputs, *words, FAULTS="1"), outputs)
    assert done.status == 1
    assert [run["status"] for run in done.runs] == ["done", "failed"]
    assert "longer than trainer.max_minutes=0.05" in done.runs[1]["error"]


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


@pytest.mark.slow
def test_the_leaderboard_folds_seeds_and_ends_with_the_winning_command(train: Command, command: Command):
    done = train("-m", "optimizer.lr=1e-3,1e-2,1e30", "optimizer=sgd", "seed=1,2", *ONE)
    assert done.status == 1
    sweep = done.runs[0]["sweep"]
    shown = command("runs", "ls", "--sweep", "latest")
    assert shown.status == 0, shown.stderr
    board = json.loads(command("runs", "ls", "--sweep", sweep, "--json").stdout)
    assert [row["settings"] for row in board["rows"]] == [
        {"optimizer.lr": "0.01"},
        {"optimizer.lr": "0.001"},
        {"optimizer.lr": "1e+30"},
    ]
    assert [row["status"] for row in board["rows"]] == ["done", "done", "failed"]
    best = board["rows"][0]
    values = [run["best"]["value"] for run in done.runs if run["config"]["optimizer"]["lr"] == 0.01]
    assert best["values"] == values
    assert best["mean"] == pytest.approx(sum(values) / 2)
    assert set(board["importance"]["settings"]) == {"optimizer.lr"}
    table = list(csv.reader(io.StringIO(command("runs", "ls", "--sweep", sweep[:-2], "--csv").stdout)))
    assert table[0][:4] == ["status", "best/val/acc", "std", "n"]
    assert len(table) == 4
    file = next(done.outputs.glob("sweeps/*/leaderboard.md")).read_text()
    for cell in (f"{best['mean']:.4f}", board["winner"], "became"):
        assert cell in file
    assert board["winner"] in shown.stdout
    again = command(*shlex.split(board["winner"].removeprefix("python -m src.")))
    assert again.status == 0, again.stderr
    assert again.runs[0]["best"]["value"] == values[0]


@pytest.mark.parametrize("word", ["latest", "s2026", "nothing"])
def test_a_sweep_that_is_not_there(command: Command, word: str):
    for done in (command("runs", "ls", "--sweep", word), command("train", "-m", f"resume={word}")):
        assert done.status == 1
        assert "there is no sweep yet" in done.stderr


@pytest.mark.slow
def test_submitits_local_executor_runs_the_jobs(train: Command):
    done = train("-m", "seed=1,2", *ONE, "hydra/launcher=local")
    assert done.status == 0, done.stdout + done.stderr
    assert [run["status"] for run in done.runs] == ["done", "done"]
    assert len({run["environment"]["pid"] for run in done.runs}) == 2


@pytest.mark.slow
def test_ray_runs_the_jobs(train: Command):
    done = train("-m", "seed=1,2", *ONE, "hydra/launcher=ray", "+hydra.launcher.ray.init.num_cpus=2")
    assert done.status == 0, done.stdout + done.stderr
    assert [run["status"] for run in done.runs] == ["done", "done"]


# -- the search itself, with jobs that only write their record


def a_sweep(folder: Path, trials: int, **settings: Any) -> Sweep:
    folder.mkdir(parents=True, exist_ok=True)
    usual = {"sampler": "tpe", "pruner": "none", "startup_trials": 2, "seed": 0, "storage": None}
    line = CommandLine(["--multirun"], [], True, None)
    return Sweep.start(
        folder, line.flags, line.overrides, jobs=None, trials=trials, mode="max", search={**usual, **settings}, git=None
    )


def answer(folder: Path, answers: Callable[[int], dict[str, Any]]) -> Callable[[Sequence[Sequence[str]], int], None]:
    def launch(jobs: Sequence[Sequence[str]], first: int) -> None:
        for number, words in enumerate(jobs, first):
            directory = folder / f"{number:03d}"
            directory.mkdir(exist_ok=True)
            config = {"name": None, "tags": [], "seed": 0, "monitor": "val/acc"}
            record = Record.start(
                directory, sweep=folder.name, config=config, overrides=list(words), command="", git=None, environment={}
            )
            said = answers(number)
            best = {**record.values["best"], "value": said.pop("value", None)}
            record.update(**{"status": "done", "best": best, "duration_s": 1.0, **said})

    return launch


_, SPACE = split_space({"optimizer.lr": "tag(log,interval(1e-4,1e-1))", "model.width": "range(8,33,8)"}, ["seed=1,2"])


@pytest.mark.parametrize("sampler", ["tpe", "random", "cmaes"])
def test_every_sampler_proposes_what_is_in_the_space(tmp_path: Path, sampler: str):
    sweep = a_sweep(tmp_path / "s1", 6, sampler=sampler)
    search(sweep, SPACE, ["x=1"], answer(sweep.directory, lambda n: {"value": n / 10}), at_once=2, max_epochs=3)
    assert len(sweep.records()) == 6
    for record in sweep.records():
        said = dict(word.split("=") for word in record.values["overrides"])
        assert said["x"] == "1"
        assert 1e-4 <= float(said["optimizer.lr"]) <= 1e-1
        assert said["model.width"] in ("8", "16", "24", "32")
        assert said["seed"] in ("1", "2")
    assert open_study(sweep).best_value == 0.5


EPOCHS = 4
_, POINTS = split_space({}, ["optimizer.lr=1e-2,1e-3", "model.width=32,8", "seed=1,2,3"])


class Cut(Exception):
    """The search is killed."""


def learn(sweep: Sweep, cut: tuple[int, str] | None = None) -> Callable[[Sequence[Sequence[str]], int], None]:
    """Jobs that report to their trial after each epoch and end when it is pruned; one of them may be killed."""

    def work(number: int) -> dict[str, Any]:
        words = dict(word.split("=") for word in Record.load(sweep.directory / f"{number:03d}").values["overrides"])
        rate = abs(math.log10(float(words["optimizer.lr"])) + 2)
        final = 1 / (1 + rate + 1 / float(words["model.width"]))
        trial = trial_of(open_study(sweep, EPOCHS), number)
        assert trial is not None
        for epoch in range(EPOCHS):
            value = final * (1 - 0.7 ** (epoch + 1))
            if epoch not in trial.study.trials[trial.number].intermediate_values:
                trial.report(value, epoch)
            if cut == (number, "mid-training") and epoch == 1:
                Record.load(sweep.directory / f"{number:03d}").update(status="interrupted")
                raise Cut
            if trial.should_prune() and epoch + 1 < EPOCHS:
                return {"value": value, "pruned_in_epoch": epoch + 1}
        return {"value": final}

    run = answer(sweep.directory, work)

    def launch(jobs: Sequence[Sequence[str]], first: int) -> None:
        if cut == (first, "before it began"):
            raise Cut
        run(jobs, first)

    return launch


def trials_of(sweep: Sweep) -> list[tuple[list[str], int | None, float]]:
    """What each job was set to, in which epoch it was pruned, and what it reached."""
    runs = [record.values for record in sweep.records()]
    return [(run["overrides"], run.get("pruned_in_epoch"), run["best"]["value"]) for run in runs]


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "grid"])
def test_a_search_is_reproducible_and_continues_as_if_it_had_not_been_cut_off(tmp_path: Path, sampler: str):
    def run(name: str, *cuts: tuple[int, str], **settings: Any) -> list[Any]:
        sweep = a_sweep(tmp_path / name, 9, sampler=sampler, pruner="hyperband", **settings)
        space = POINTS if sampler == "grid" else SPACE
        for cut in cuts:
            with pytest.raises(Cut):
                search(sweep, space, [], learn(sweep, cut), at_once=1, max_epochs=EPOCHS)
        search(sweep, space, [], learn(sweep), at_once=1, max_epochs=EPOCHS)
        return trials_of(sweep)

    whole = run("whole")
    assert len({tuple(words) for words, _, _ in whole}) == 9
    assert any(pruned for _, pruned, _ in whole)
    assert run("cut", (4, "before it began"), (6, "mid-training"), storage=f"sqlite:///{tmp_path}/shared.db") == whole


def test_trials_proposed_at_the_same_time_differ(tmp_path: Path):
    found = []
    for name in ("a", "b"):
        sweep = a_sweep(tmp_path / name, 8)
        search(sweep, SPACE, [], answer(sweep.directory, lambda n: {"value": n / 10}), at_once=4, max_epochs=3)
        found.append([record.values["overrides"] for record in sweep.records()])
    assert found[0] == found[1]
    assert len(set(map(tuple, found[0]))) == 8


def test_failed_and_interrupted_trials_are_taken_up_again_once(tmp_path: Path):
    sweep, asked = a_sweep(tmp_path / "s1", 4), []

    def first(number: int) -> dict[str, Any]:
        asked.append(number)
        return [{"value": 0.1}, {"status": "failed"}, {"status": "interrupted"}, {"value": None}][number]

    search(sweep, SPACE, [], answer(sweep.directory, first), at_once=1, max_epochs=3)
    assert asked == [0, 1, 2, 3]
    asked.clear()

    def second(number: int) -> dict[str, Any]:
        asked.append(number)
        assert trial_of(open_study(sweep), number)  # a pruner can judge it
        return {"value": 0.5 + number}

    sweep.values["trials"] = 5
    search(sweep, SPACE, [], answer(sweep.directory, second), at_once=1, max_epochs=3)
    assert asked == [1, 2, 3, 4]
    assert open_study(sweep).best_value == 4.5
    asked.clear()
    search(sweep, SPACE, [], answer(sweep.directory, second), at_once=1, max_epochs=3)
    assert asked == []


def a_grid(folder: Path, jobs: list[list[str]], values: Sequence[float | None]) -> Sweep:
    """A grid whose jobs have ended with these values; None failed."""
    folder.mkdir(parents=True)
    line = CommandLine(["--multirun"], [], True, None)
    sweep = Sweep.start(
        folder, line.flags, line.overrides, jobs=jobs, trials=len(jobs), mode="max", search=None, git=None
    )
    answer(folder, lambda n: {"value": values[n], "status": "failed" if values[n] is None else "done"})(jobs, 0)
    return sweep


GRID = [
    [f"optimizer.lr={lr}", f"model.dropout={p}", f"seed={s}"] for lr in (0.1, 0.01) for p in (0, 0.5) for s in range(4)
]
NOISE = (0.02, -0.01, -0.03, 0.01, -0.02, 0.03, 0.01, 0.0, 0.01, 0.02, -0.02, -0.03, 0.0, -0.01, 0.03, -0.01)


def test_the_importance_in_a_grid_is_the_variance_that_a_setting_explains(outputs: Path, command: Command):
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
    shown = command("runs", "ls", "--sweep", "s1")
    assert f"importance for best/val/acc, {label}" in shown.stdout, shown.stderr
    assert f"Importance for best/val/acc, {label}" in make_leaderboard(sweep).as_markdown()
    assert make_leaderboard(sweep).as_plain()["importance"]["measure"] in label


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
    ],
    ids=["too few jobs", "settings that vary together", "no variance"],
)
def test_no_importance_is_shown_where_a_grid_cannot_tell(tmp_path: Path, jobs: list[list[str]], values: list[float]):
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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["optimizer.lr=interval(1e-3,1e-1)"], "add hydra/sweeper=optuna"),
        (["hydra/sweeper=optuna"], "no space"),
        (["hydra/sweeper=optuna", "optimizer.lr=interval(1,1)"], "from a smaller number to a larger"),
        (["hydra/sweeper=optuna", "optimizer.lr=tag(log,interval(0,1))"], "begins above 0"),
        (["hydra/sweeper=optuna", "optimizer.lr=interval(0.1,-1.0)"], "from a smaller"),
        (["hydra/sweeper=optuna", "model.dropout=interval(0.1,2.0)"], "model.dropout=2.0 must be below 1"),
        (["hydra/sweeper=optuna", "optimizer.lrr=interval(0.1,1)"], "did you mean"),
        (["hydra/sweeper=optuna", "hydra.sweeper.sampler=tp", "seed=1,2"], "must be 'tpe'"),
        (["hydra/sweeper=optuna", "hydra.sweeper.n_trials=0", "seed=1,2"], "must be at least 1"),
        (["hydra/sweeper=optuna", "hydra.sweeper.storage=study.db", "seed=1,2"], "hydra.sweeper.storage"),
        (["hydra/sweeper=optun", "seed=1,2"], "did you mean 'optuna'"),
        (["hydra/launcher=jobli", "seed=1,2"], "did you mean 'joblib'"),
        (["hydra/launcher=joblib", "hydra.launcher.backend=threading", "seed=1,2"], "may be set n_jobs"),
        (["hydra/launcher=slurm", "hydra.launcher.setup=[evil]", "seed=1,2"], "hydra.launcher.setup"),
        (["hydra.launcher._target_=os.system", "seed=1,2"], "is not allowed"),
        (["hydra/sweeper=optuna", "hydra.sweeper._target_=os.system", "seed=1,2"], "is not allowed"),
        (["hydra/sweeper=optuna", "hydra.sweeper.sampler=grid", "optimizer.lr=interval(0.1,1)"], "a grid needs"),
        (["seed=shuffle(1,2)"], "leave shuffle out"),
    ],
)
def test_a_wrong_sweep_is_refused_in_a_sentence(words: list[str], said: str):
    with pytest.raises(ConfigError) as refused:
        make_plan(parse(["-m", *words]))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("redis://u:secret@host/x", "there is no database 'redis'"),
        ("postgresql://u:se/cret@host:port/x", "postgresql://... cannot be read"),
        ("mysql+pymysql://u:secret@host/x", "mysql+pymysql://u:***@host/x needs a driver that is not installed"),
        ("sqlite://", "in memory"),
        ("sqlite:///study.db", f"write sqlite:///{ROOT}/study.db"),
        ("sqlite:////nowhere/study.db", "there is no directory /nowhere"),
        (f"sqlite:///{ROOT}/src", "is a directory"),
        (f"sqlite:///{ROOT}/README.md", "file is not a database"),
    ],
)
def test_a_storage_that_cannot_be_used_is_refused_without_showing_its_password(address: str, said: str):
    with pytest.raises(ConfigError) as refused:
        check_storage(address)
    assert said in str(refused.value)
    assert "cret" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_storage_is_checked_before_a_sweep_writes_anything(train: Command, tmp_path: Path):
    lacking = f"sqlite:///{tmp_path}/lacking/study.db"
    done = train("-m", "hydra/sweeper=optuna", "seed=1,2", f"hydra.sweeper.storage={lacking}")
    assert done.status == 2
    assert done.stderr == (
        f"error: hydra.sweeper.storage={lacking}: there is no directory {tmp_path}/lacking: create it, or name another.\n"
    )
    assert not done.outputs.exists()


@pytest.mark.parametrize("sweeper", ["basic", "optuna"])
def test_a_sweep_resumes_only_with_the_jobs_it_began_with(tmp_path: Path, sweeper: str):
    line = parse(["-m", f"hydra/sweeper={sweeper}", "optimizer=glob(ada*)", "hydra/launcher=joblib"])
    plan = make_plan(line)
    sweep = Sweep.start(
        tmp_path, line.flags, line.overrides, jobs=plan.jobs, trials=2, mode="max", search=plan.search, git=None
    )
    check_unchanged(sweep, make_plan(parse(["-m", f"hydra/sweeper={sweeper}", "optimizer=glob(ada*)"])))
    if plan.search:
        search(sweep, plan.space, [], answer(tmp_path, lambda n: {"value": 0.5}), at_once=2, max_epochs=3)
    check_unchanged(sweep, plan)
    with pytest.raises(UserError, match="files in conf/ have changed"):
        check_unchanged(sweep, make_plan(parse(["-m", f"hydra/sweeper={sweeper}", "optimizer=glob(adam*)"])))


def test_gpus_are_shared_out_among_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SWEEP_JOBS_AT_ONCE", "2")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    gpus = ["0", "1", "4", "5"]
    with gpus_of_a_job(tmp_path, gpus, wanted=2):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"
        with gpus_of_a_job(tmp_path, gpus, wanted=2):
            assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,5"
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    with gpus_of_a_job(tmp_path, ["7"], wanted=1), gpus_of_a_job(tmp_path, ["7"], wanted=1):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "7"  # fewer GPUs than jobs are shared
