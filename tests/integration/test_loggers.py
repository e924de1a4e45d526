"""W&B, MLflow and other loggers: one run there for a run here, whatever ends it and however often it is resumed."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from src.errors import Interrupted
from src.paths import ROOT
from tests.conftest import SMALL, Command, Fit, copy_of_the_project
from tests.helpers.loggers import Session, mlflow_client, mlflow_curve, mlflow_runs, wandb_sessions
from tests.helpers.resume import SHORT, Cut

Curves = dict[str, list[tuple[int, float]]]
BOTH = "logger=[csv,wandb,mlflow]"
SHORT_BOTH = [BOTH if word.startswith("logger=") else word for word in SHORT]


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs, which takes seconds to create."""
    folder = tmp_path_factory.mktemp("mlflow")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    mlflow_client(folder)
    return folder / "mlflow.db"


@pytest.fixture
def store(empty_store: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The outputs directory, with an MLflow database."""
    pytest.importorskip("wandb")
    pytest.importorskip("mlflow")
    outputs.mkdir()
    shutil.copy(empty_store, outputs / "mlflow.db")
    monkeypatch.setenv("OUTPUTS_DIR", str(outputs))
    yield outputs
    if "wandb" in sys.modules:  # ends its process, which commands started from here would use, too
        sys.modules["wandb"].teardown()


def rows(directory: Path) -> Curves:
    """The curves of metrics.csv."""
    with (directory / "metrics.csv").open() as file:
        found = list(csv.DictReader(file))
    names = [name for name in found[0] if name != "step"]
    return {name: [(int(row["step"]), float(row[name])) for row in found if row[name]] for name in names}


def curves_in_wandb(sessions: list[Session]) -> Curves:
    names = {name for one in sessions for row in one.rows for name in row if not name.startswith(("_", "trainer/"))}
    return {name: [point for one in sessions for point in one.curve(name)] for name in names}


def curves_in_mlflow(outputs: Path) -> Curves:
    [run] = mlflow_runs(outputs)
    return {name: mlflow_curve(outputs, run.info.run_id, name) for name in run.data.metrics}


def assert_same(one: Curves, other: Curves) -> None:
    assert one.keys() == other.keys()
    for name, curve in one.items():
        assert [step for step, _ in curve] == [step for step, _ in other[name]], name
        assert [value for _, value in curve] == pytest.approx([value for _, value in other[name]]), name


@pytest.mark.parametrize("path", ["fast", "plain"])
def test_every_point_is_on_its_optimizer_step(train_here: Command, store: Path, path: str):
    words = ["name=mine", "tags=[wide,x]", "data.steps_per_execution=3", "+trainer.log_every_n_steps=3"]
    done = train_here(BOTH, *words, *(["+trainer.gradient_clip_val=100.0"] if path == "plain" else []))
    assert (done.status, done.stderr) == (0, "")
    [directory], [record] = done.directories, done.runs
    assert record["fast_path"] == (path == "fast")
    [session], [run] = wandb_sessions(directory), mlflow_runs(store)
    assert record["loggers"] == {"wandb": record["id"], "mlflow": run.info.run_id}
    assert (session.id, session.name, session.tags) == (record["id"], "mine", ["wide", "x"])
    assert (session.project, session.exit_code, session.summary["status"]) == ("tracking", 0, "done")
    assert (run.info.run_name, run.info.status) == ("mine", "FINISHED")
    assert (run.data.tags["id"], run.data.tags["tags"]) == (record["id"], "wide x")
    assert session.config["optimizer"]["lr"] == 1e-3
    assert run.data.params["optimizer.lr"] == "0.001"
    points = rows(directory)
    assert points["test/acc"][0][1] == pytest.approx(record["metrics"]["test/acc"])
    assert_same(curves_in_wandb([session]), points)
    assert_same(curves_in_mlflow(store), points)
    steps = [row["_step"] for row in session.rows]
    assert steps == sorted(set(steps))
    # Nothing outside the run's directory but the store, nothing of the machine, and nothing left open.
    assert {path.name for path in store.iterdir()} == {"mlflow.db", ".mlflow.lock", "runs"}
    logged = {path.name for path in directory.glob("wandb/offline-run-*/**/*") if path.is_file()}
    assert {name for name in logged if not name.startswith("debug")} == {f"run-{record['id']}.wandb"}
    import wandb

    assert wandb.run is None


@pytest.mark.slow
def test_jobs_that_start_together_create_one_database(train: Command, outputs: Path):
    pytest.importorskip("mlflow")
    done = train("-m", "logger=mlflow", "seed=1,2,3", "trainer.max_epochs=1", "hydra.launcher.n_jobs=3")
    assert done.status == 0, done.stderr
    assert {run.info.status for run in mlflow_runs(outputs)} == {"FINISHED"}
    assert len(mlflow_runs(outputs)) == 3


@pytest.mark.slow
@pytest.mark.parametrize("how", ["told", "killed"])
def test_a_resumed_run_is_one_run_there(fit_here: Fit, store: Path, tmp_path: Path, how: str):
    directory = tmp_path / "cut"
    statuses = []
    for chunks in (4, 3):
        with pytest.raises((Interrupted, RuntimeError)):
            fit_here(*SHORT_BOTH, extra=[Cut(chunks, how)], small=False, into=directory)
        statuses.append(mlflow_runs(store)[0].info.status)
        time.sleep(1)  # W&B names a session's folder after the second
    fit_here(*SHORT_BOTH, small=False, into=directory)
    sessions = wandb_sessions(directory)
    assert [one.id for one in sessions] == ["cut"] * 3
    codes, there = {"told": (255, "KILLED"), "killed": (1, "FAILED")}[how]
    assert [one.exit_code for one in sessions] == [codes, codes, 0]
    assert [one.summary["status"] for one in sessions][-1] == "done"
    assert statuses == [there, there]
    [run] = mlflow_runs(store)
    assert run.info.status == "FINISHED"
    points = rows(directory)
    for name, curve in curves_in_mlflow(store).items():
        steps = [step for step, _ in curve]
        assert steps == sorted(set(steps)), name
        assert [step for step, _ in points[name]] == steps
    if how == "told":  # which saves a checkpoint at once, so that nothing is done twice
        assert_same(curves_in_wandb(sessions), points)
    else:
        assert {name: dict(curve).keys() for name, curve in curves_in_wandb(sessions).items()} == {
            name: dict(curve).keys() for name, curve in points.items()
        }


@pytest.mark.slow
def test_a_resumed_run_may_differ_in_what_it_may(train_here: Command, store: Path):
    first = train_here(BOTH)
    done = train_here(f"resume={first.runs[0]['id']}", "trainer.max_epochs=3", small=False)
    assert (done.status, done.stderr) == (0, "")
    [run] = mlflow_runs(store)
    assert (run.data.params["trainer.max_epochs"], run.data.tags["trainer.max_epochs"]) == ("2", "3")
    assert [one.config["trainer"]["max_epochs"] for one in wandb_sessions(done.directories[0])] == [2, 3]
    there, points = curves_in_mlflow(store), rows(done.directories[0])
    assert [step for step, _ in there["val/acc"]] == [8, 16, 24]
    # MLflow keeps the earlier test, which metrics.csv forgets.
    assert ([step for step, _ in there["test/acc"]], [step for step, _ in points["test/acc"]]) == ([16, 24], [24])


@pytest.mark.slow
def test_a_run_that_was_removed_there_is_resumed_as_another(train_here: Command, store: Path):
    first = train_here("logger=mlflow")
    [run] = mlflow_runs(store)
    mlflow_client(store).delete_run(run.info.run_id)
    done = train_here(f"resume={first.runs[0]['id']}", "trainer.max_epochs=3", small=False)
    assert done.status == 0
    assert f"the MLflow run {run.info.run_id} is not in" in done.stdout
    [other] = mlflow_runs(store)
    assert done.runs[0]["loggers"] == {"mlflow": other.info.run_id}


@pytest.mark.slow
def test_a_killed_run_is_resumed(command: Command, store: Path):
    words = [*SMALL[:2], "trainer.max_epochs=2000", "model.hidden=[16]", BOTH]
    process = subprocess.Popen(
        [sys.executable, "-m", "src.train", *words],
        cwd=ROOT,
        env={**os.environ, "OUTPUTS_DIR": str(store)},
        stdout=subprocess.DEVNULL,
    )
    try:
        while not any(len(path.read_text().splitlines()) > 20 for path in store.glob("runs/*/metrics.csv")):
            assert process.poll() is None
            time.sleep(0.2)
        time.sleep(1.5)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    [directory] = store.glob("runs/*")
    [run] = mlflow_runs(store)
    assert run.info.status == "RUNNING"
    [killed] = wandb_sessions(directory)
    assert killed.exit_code is None
    assert killed.rows
    process = subprocess.Popen(
        [sys.executable, "-m", "src.train", "resume=latest"],
        cwd=ROOT,
        env={**os.environ, "OUTPUTS_DIR": str(store)},
        stdout=subprocess.DEVNULL,
    )
    lines = len((directory / "metrics.csv").read_text().splitlines())
    while len((directory / "metrics.csv").read_text().splitlines()) < lines + 20:
        assert process.poll() is None
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 143
    [run] = mlflow_runs(store)
    assert run.info.status == "KILLED"
    points = rows(directory)
    for name, curve in curves_in_mlflow(store).items():
        steps = [step for step, _ in curve]
        assert steps == sorted(set(steps)) == [step for step, _ in points[name]], name
    assert [(one.id, one.exit_code) for one in wandb_sessions(directory)] == [
        (directory.name, None),
        (directory.name, 255),
    ]


def test_a_failed_run_is_failed_there(train_here: Command, store: Path):
    done = train_here(BOTH, "optimizer=sgd", "optimizer.lr=1e30")
    assert done.status == 1
    assert mlflow_runs(store)[0].info.status == "FAILED"
    [session] = wandb_sessions(done.directories[0])
    assert (session.exit_code, session.summary["status"]) == (1, "failed")
    import wandb

    assert wandb.run is None


@pytest.mark.slow
def test_a_sweep_is_a_group_of_runs(train: Command, store: Path):
    done = train("-m", "seed=1,2", "logger=[wandb,mlflow]")
    assert done.status == 0, done.stderr
    sessions = [wandb_sessions(directory) for directory in done.directories]
    assert [[one.id for one in found] for found in sessions] == [[run["id"]] for run in done.runs]
    [sweep] = {run["sweep"] for run in done.runs}
    assert {one.group for [one] in sessions} == {sweep}
    assert [one.config["seed"] for [one] in sessions] == [1, 2]
    # The jobs run at the same time: MLflow may have received either of them first.
    there = {run.info.run_id: run.data for run in mlflow_runs(store)}
    ids = [run["loggers"]["mlflow"] for run in done.runs]
    assert sorted(there) == sorted(ids)
    assert [there[one].params["seed"] for one in ids] == ["1", "2"]
    assert {there[one].tags["sweep"] for one in ids} == {sweep}


@pytest.mark.slow
def test_only_the_first_of_two_processes_logs(train: Command, store: Path):
    done = train(BOTH, "trainer.accelerator=cpu", "trainer.devices=2")
    assert done.status == 0, done.stderr
    [directory] = done.directories
    assert len(wandb_sessions(directory)) == 1
    assert_same(curves_in_mlflow(store), rows(directory))


# -- before a run begins


def test_neither_is_imported_unless_it_is_chosen(store: Path):
    code = (
        "import sys\nfrom src.train import main\nfor logger in ('both', 'wandb'):\n"
        "    status = main([*sys.argv[1:], f'logger={logger}'])\n"
        "    print('imported', status, sorted({'wandb', 'mlflow', 'opacus'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *SMALL], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    found = [line for line in done.stdout.splitlines() if line.startswith("imported")]
    assert found == ["imported 0 []", "imported 0 ['wandb']"], done.stderr


@pytest.mark.parametrize(("package", "installed"), [("wandb", "wandb"), ("mlflow", "mlflow-skinny")])
def test_a_package_that_is_missing_is_named(
    train_here: Command, store: Path, monkeypatch: pytest.MonkeyPatch, package: str, installed: str
):
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, package, None)
        done = train_here(f"logger={package}")
    assert done.status == 2
    assert done.stderr == (
        f"error: logger.{package} needs {package}, which is not installed: make install-all, or pip install {installed}.\n"
    )
    assert not list(store.glob("runs/*"))


def test_an_upload_without_a_key_is_refused_without_a_prompt(command: Command, store: Path, tmp_path: Path):
    home = {
        "HOME": str(tmp_path),
        "NETRC": str(tmp_path / "netrc"),
        "WANDB_API_KEY": "",
        "WANDB_BASE_URL": "https://127.0.0.1:9",
    }
    done = command("train", *SMALL, "logger=wandb", "logger.wandb.offline=false", **home)
    assert done.status == 2
    assert (
        "error: logger.wandb.offline=false: there is no API key for https://127.0.0.1:9: run wandb login" in done.stderr
    )
    assert len(done.stderr.splitlines()) == 1
    assert not list(store.glob("runs/*"))


# -- other loggers

OWN = '''
from lightning.pytorch.loggers import Logger


class Mine(Logger):
    """Only what Lightning requires."""

    def __init__(self, save_dir, run_id=None):
        self.path, self.run_id, self.lines = f"{save_dir}/mine.txt", run_id or "mine-1", []

    @property
    def name(self):
        return "mine"

    @property
    def version(self):
        return self.run_id

    def log_hyperparams(self, params, *args, **kwargs):
        self._write(f"seed {params['seed']}")

    def log_metrics(self, metrics, step=None):
        for name in metrics:
            self._write(f"{name} {step}")

    def _write(self, line):
        with open(self.path, "a") as file:
            print(line, file=file)
'''


@pytest.mark.slow
def test_any_logger_works_as_it_is(command: Command, tmp_path: Path):
    project = copy_of_the_project(tmp_path / "project")
    (project / "src/loggers/mine.py").write_text(OWN)
    (project / "conf/logger/several.yaml").write_text(
        "mine:\n  _target_: src.loggers.mine.Mine\n"
        "rows:\n  _target_: lightning.pytorch.loggers.CSVLogger\n"
        "board:\n  _target_: lightning.pytorch.loggers.TensorBoardLogger\n"
    )
    done = command("train", *SMALL, "logger=several", cwd=project)
    assert done.status == 0, done.stderr
    [directory] = done.directories
    lines = (directory / "mine.txt").read_text().splitlines()
    assert lines[0] == "seed 0"
    assert {"val/acc 7", "val/acc 15", "test/acc 16"} <= set(lines)  # Lightning's own count of optimizer steps
    assert (directory / "checkpoints/best.ckpt").exists()
    ids = done.runs[0]["loggers"]
    assert (ids.keys(), ids["mine"]) == ({"mine", "rows", "board"}, "mine-1")
    assert (directory / f"lightning_logs/version_{ids['rows']}/metrics.csv").exists()
    assert list((directory / f"lightning_logs/version_{ids['board']}").glob("events.*"))
    again = command("train", f"resume={done.runs[0]['id']}", "trainer.max_epochs=3", cwd=project)
    assert again.status == 0, again.stderr
    assert "val/acc 23" in (directory / "mine.txt").read_text()
    shown = command("runs", "show", "latest", cwd=project).stdout
    assert "mine mine-1" in shown
    assert json.loads(command("runs", "show", "latest", "--json", cwd=project).stdout)["loggers"]["mine"] == "mine-1"
