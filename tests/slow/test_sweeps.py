"""A sweep begun in the evening: every result is there in the morning, whatever failed in the night."""

import csv
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

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


def test_a_job_that_hangs_past_its_time_costs_that_job(project: Path, outputs: Path):
    words = ["-m", "model.width=5,90", "trainer.max_minutes=0.05", *ONE]
    done = end(begin(project, outputs, *words, FAULTS="1"), outputs)
    assert done.status == 1
    assert [run["status"] for run in done.runs] == ["done", "failed"]
    assert "longer than trainer.max_minutes=0.05" in done.runs[1]["error"]


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


def test_submitits_local_executor_runs_the_jobs(train: Command):
    done = train("-m", "seed=1,2", *ONE, "hydra/launcher=local")
    assert done.status == 0, done.stdout + done.stderr
    assert [run["status"] for run in done.runs] == ["done", "done"]
    assert len({run["environment"]["pid"] for run in done.runs}) == 2


def test_ray_runs_the_jobs(train: Command):
    done = train("-m", "seed=1,2", *ONE, "hydra/launcher=ray", "+hydra.launcher.ray.init.num_cpus=2")
    assert done.status == 0, done.stdout + done.stderr
    assert [run["status"] for run in done.runs] == ["done", "done"]
