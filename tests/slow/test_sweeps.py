"""A sweep begun in the evening: every result is there in the morning, whatever failed in the night."""

import csv
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import SMALL, Command, Finished, copy_of_the_project
from tests.helpers.boards import wait_for

JOBLIB = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
PROCESSES = ["hydra.launcher.n_jobs=2"]  # of the default launcher
ONE_AT_A_TIME = ["hydra.launcher.n_jobs=1"]


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


def resume(project: Path, outputs: Path, *words: str, sweep: str = "latest") -> Finished:
    done = subprocess.run(
        [sys.executable, "-m", "src.train", "-m", f"resume={sweep}", *words],
        cwd=project,
        env={**os.environ, "OUTPUTS_DIR": str(outputs), "COLUMNS": "200", "PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
        timeout=250,
    )
    return Finished(done.returncode, done.stdout, done.stderr, outputs)


@pytest.mark.parametrize(("jobs", "launcher"), [(7, JOBLIB), (7, ONE_AT_A_TIME), (12, PROCESSES)])
def test_three_faults_cost_three_jobs_and_a_resume_makes_up_for_them(
    project: Path, outputs: Path, jobs: int, launcher: list[str]
):
    grid = f"model.width=range(1,{jobs + 1})"
    done = end(begin(project, outputs, "-m", grid, *ONE, *launcher, FAULTS="1"), outputs)
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
    words += ONE_AT_A_TIME
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
    words += ["optimizer.lr=tag(log,interval(1e-4,1))", *ONE_AT_A_TIME]

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


@pytest.mark.parametrize("launcher", [JOBLIB, PROCESSES])
def test_a_sweep_told_to_stop_ends_its_workers_and_names_what_was_not_run(
    project: Path, outputs: Path, launcher: list[str]
):
    words = ["-m", "model.width=5,6,7,8,9", "trainer.max_epochs=300", *launcher]
    process = begin(project, outputs, *words)
    wait_for(lambda: len(list(outputs.glob("sweeps/*/*/checkpoints/last.ckpt"))) > 1, 200)
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
    for launcher in (ONE_AT_A_TIME, PROCESSES, JOBLIB):
        done = train(*words, *launcher)
        assert done.status == 0, done.stdout + done.stderr
    runs = done.runs
    for first in (4, 8):
        assert [run["metrics"] for run in runs[:4]] == [run["metrics"] for run in runs[first : first + 4]]
    assert {run["environment"]["threads"] for run in runs} == {1}
    assert [len({run["environment"]["pid"] for run in runs[first : first + 4]}) for first in (0, 4, 8)] == [4, 4, 2]


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
    done = train(
        "-m",
        "seed=1,2",
        *ONE,
        "hydra/launcher=ray",
        "+hydra.launcher.ray.init.num_cpus=2",
        "+hydra.launcher.ray.init.address=local",
    )
    assert done.status == 0, done.stdout + done.stderr
    assert [run["status"] for run in done.runs] == ["done", "done"]


def test_a_job_starts_as_soon_as_a_worker_is_free(project: Path, outputs: Path):
    """In a search and in a grid: while the first trains long, the others follow one another."""
    for words in (
        ["hydra/sweeper=optuna", "hydra.sweeper.sampler=grid", "hydra.sweeper.n_trials=5"],
        ["hydra/sweeper=basic"],
    ):
        values = "choice(400,1,2,3,4)" if "optuna" in words[0] else "400,1,2,3,4"
        done = end(begin(project, outputs, "-m", *words, *PROCESSES, f"trainer.max_epochs={values}"), outputs)
        assert done.status == 0, done.stdout
        first, *others = done.runs[-5:]
        ends = [datetime.fromisoformat(run["started"]).timestamp() + run["duration_s"] for run in (first, *others)]
        starts = [datetime.fromisoformat(run["started"]).timestamp() for run in others]
        assert max(starts) < ends[0]
        assert starts == sorted(starts)
        ended = re.findall(r"^\[(\d)/5\] job (\d+) done", done.stdout, re.MULTILINE)
        assert ended == [("1", "001"), ("2", "002"), ("3", "003"), ("4", "004"), ("5", "000")]


def test_jobs_that_fail_alike_end_the_sweep_and_a_resume_tries_the_others(project: Path, outputs: Path):
    words = ["-m", "model.width=2,5,2,6", *ONE, *ONE_AT_A_TIME, "hydra.launcher.max_failures=2"]
    done = end(begin(project, outputs, *words, FAULTS="1"), outputs)
    assert done.status == 1
    assert [run["status"] for run in done.runs] == ["failed", "done", "failed"]
    assert "2 jobs have failed with the same error, the last with 'RuntimeError: the trap'" in done.stdout
    [not_run] = [line for line in done.stdout.splitlines() if line.startswith("not run")]
    assert "model.width=6" in not_run
    done = resume(project, outputs)
    assert done.status == 0, done.stdout + done.stderr
    assert [run["status"] for run in done.runs] == ["done"] * 4


def test_each_job_records_the_code_that_it_ran(project: Path, outputs: Path):
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=project, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    (project / ".gitignore").write_text("__pycache__/\n/data\n/.cache\n")
    git("add", "--all")
    author = ["-c", "user.name=a", "-c", "user.email=a@b"]
    git(*author, "commit", "--quiet", "-m", "first")
    commits = [git("rev-parse", "HEAD")]
    for words in ([], ["--frozen"]):
        done = end(begin(project, outputs, "-m", "model.width=5,6", *ONE, *words), outputs)
        assert done.status == 0, done.stdout
        shutil.rmtree(done.directories[-1])
    (project / "src" / "models" / "faulty.py").write_text(FAULTY.replace("nn.ReLU()", "nn.Tanh()"))
    git(*author, "commit", "--quiet", "--all", "-m", "second")
    commits.append(git("rev-parse", "HEAD"))
    plain, frozen = sorted(outputs.glob("sweeps/*"))
    for sweep, warns, commit in ((plain, True, commits[1]), (frozen, False, commits[0])):
        done = resume(project, outputs, sweep=sweep.name)
        assert done.status == 0, done.stdout + done.stderr
        assert (f"warning: the code is at commit {commits[1][:12]}" in done.stderr) == warns
        runs = [json.loads((sweep / job / "run.json").read_text()) for job in ("000", "001")]
        assert [run["git"]["commit"] for run in runs] == [commits[0], commit]
        assert [run["git"]["dirty"] for run in runs] == [False, False]
    assert not (frozen / "code").exists()
    assert git("worktree", "list").count("\n") == 0


@pytest.mark.parametrize("who", ["a job", "the sweep"])
def test_a_killed_process_costs_what_it_was_at_work_on(project: Path, outputs: Path, who: str):
    words = ["-m", "model.width=5,6,7", "trainer.max_epochs=40", *PROCESSES]
    process = begin(project, outputs, *words)
    wait_for(lambda: len(list(outputs.glob("sweeps/*/*/checkpoints/last.ckpt"))) > 1, 200)
    jobs = psutil.Process(process.pid).children()
    (jobs[0] if who == "a job" else process).send_signal(signal.SIGKILL)
    done = end(process, outputs)
    _, alive = psutil.wait_procs(jobs, timeout=30)
    assert not [job for job in alive if job.status() != psutil.STATUS_ZOMBIE]
    statuses = [run["status"] for run in done.runs]
    if who == "a job":
        assert sorted(statuses) == ["done", "done", "failed"]
        assert "SIGKILL" in next(run["error"] for run in done.runs if run["status"] == "failed")
        assert f"-m resume={done.runs[0]['sweep']}" in done.stdout
    else:
        assert statuses == ["interrupted"] * 2
    again = resume(project, outputs)
    assert again.status == 0, again.stdout + again.stderr
    resumed = again.runs
    assert [run["status"] for run in resumed] == ["done"] * 3
    single = end(begin(project, outputs, "model.width=6", "trainer.max_epochs=40"), outputs).runs[0]
    assert single["metrics"] == resumed[1]["metrics"]
