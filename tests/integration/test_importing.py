"""``python -m src.runs import``, over what MLflow, torch and Lightning write."""

import hashlib
import json
import math
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
from lightning.pytorch.demos.boring_classes import BoringModel
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.tensorboard import SummaryWriter

from src import runs
from src.dashboard.view import View
from src.errors import UserError
from src.records.filters import Filter
from src.records.find import all_runs, find_to_rebuild, find_to_resume
from src.records.record import Record
from src.records.settings import data_of, settings_of
from src.records.summary import find_best
from src.runs.__main__ import main
from src.views.report import make_report
from src.views.scalars import curves
from tests.conftest import Command, MakeRun
from tests.helpers.loggers import mlflow_client

START = 1_790_000_000_000  # milliseconds
Import = Callable[..., tuple[int, str, str]]


@pytest.fixture
def imports(outputs: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Import:
    """Run ``python -m src.runs import`` in this process; returns status, standard output and error."""
    monkeypatch.setenv("OUTPUTS_DIR", str(outputs))

    def run(*words: object) -> tuple[int, str, str]:
        capfd.readouterr()
        status = main(["import", *map(str, words)])
        printed = capfd.readouterr()
        return status, printed.out.strip(), printed.err.strip()

    return run


def digest(folder: Path) -> str:
    """A digest of names, contents and times of the files of a folder."""
    found = sorted(path for path in folder.rglob("*"))
    entries = [(str(p), p.stat().st_mtime_ns, p.read_bytes() if p.is_file() else b"") for p in found]
    return hashlib.sha256(repr(entries).encode()).hexdigest()


def by_name() -> dict[str, Record]:
    return {record.values["name"]: record for record in all_runs()}


def fill(client: Any) -> None:
    """Two experiments with runs of every status, one nested in another, and deleted ones."""
    from mlflow.entities import Metric, Param

    digits = client.create_experiment("digits")
    parent = client.create_run(digits, run_name="search", start_time=START)
    tags = {"mlflow.parentRunId": parent.info.run_id, "mlflow.note.content": "wide", "team": "vision"}
    child = client.create_run(digits, run_name="trial", start_time=START, tags=tags).info.run_id
    losses = [1.0, 0.25, 0.5, 0.75]
    points = [Metric("val/loss", value, START + 1000 * step, 10 * step) for step, value in enumerate(losses)]
    points += [Metric("epoch", float(step), START + 1000 * step, 10 * step) for step in range(4)]
    points += [Metric("nan", math.nan, START, 0), Metric("inf", -math.inf, START, 0)]
    params = {"optimizer.lr": "1e-3", "net/hidden": "[64, 32]", "net/name": "mlp", "bias": "True", "code": "007"}
    params |= {"api_key": "sk-0123456789", "server": "https://me:secret99@host/x", "init_from": "x", "data": "mnist"}
    client.log_batch(child, metrics=points, params=[Param(key, value) for key, value in params.items()])
    client.set_terminated(child, "FINISHED", end_time=START + 60_000)
    for name, status in {"failed": "FAILED", "killed": "KILLED"}.items():
        run = client.create_run(digits, run_name=name, start_time=START)
        client.set_terminated(run.info.run_id, status, end_time=START + 1000)
    now = int(time.time() * 1000)
    client.log_metric(client.create_run(digits, run_name="now", start_time=now).info.run_id, "loss", 1.0, now)
    client.delete_run(client.create_run(digits, run_name="deleted").info.run_id)
    other = client.create_experiment("other")
    client.set_terminated(client.create_run(other, run_name="x", start_time=START).info.run_id)
    gone = client.create_experiment("gone")
    client.create_run(gone, run_name="deleted with its experiment")
    client.delete_experiment(gone)


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the two kinds of stores that MLflow writes on disk."""
    pytest.importorskip("mlflow")
    from mlflow import MlflowClient

    folder = tmp_path_factory.mktemp("stores")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        (folder / "database").mkdir()
        fill(mlflow_client(folder / "database"))
        fill(MlflowClient((folder / "mlruns").as_uri()))
    return folder


@pytest.mark.parametrize("kind", ["database/mlflow.db", "mlruns"])
def test_the_runs_of_mlflow_become_records(imports: Import, stores: Path, kind: str):
    before = digest(stores)
    status, printed, errors = imports(stores / kind, "--tag", "old")
    assert (status, printed, errors) == (0, "6 imported, 0 already there", "")
    found = by_name()
    expected = {"search": "interrupted", "trial": "done", "failed": "failed", "killed": "interrupted", "now": "running"}
    assert {name: run.status for name, run in found.items()} == {
        **{f"digits/{name}": status for name, status in expected.items()},
        "other/x": "done",
    }
    trial = found["digits/trial"]
    assert settings_of(trial) == {
        **{"optimizer.lr": 1e-3, "net.hidden": [64, 32], "net.name": "mlp", "bias": True, "code": "007"},
        **{"api_key": "***", "server": "https://me:***@host/x", "init_from": "x", "data": "mnist"},
    }
    values = trial.values
    assert values["metrics"] == {"val/loss": 0.75, "epoch": 3.0, "nan": None, "inf": None}
    assert values["best"] == {"metric": "val/loss", "value": 0.25, "epoch": 1, "checkpoint": None}
    assert (values["started"], values["duration_s"]) == ("2026-09-21T14:13:20.000+00:00", 60.0)
    assert (values["tags"], values["note"]) == (["old"], "wide")
    source = values["imported"]
    assert (source["kind"], source["experiment"], source["tags"]) == ("mlflow", "digits", {"team": "vision"})
    assert source["parent"] == found["digits/search"].values["imported"]["id"]
    assert source["from"] == str(stores / kind)
    points = curves(trial.directory)
    assert [(p.step, p.wall_time, p.value) for p in points["val/loss"]] == [
        (10 * step, START / 1000 + step, value) for step, value in enumerate([1.0, 0.25, 0.5, 0.75])
    ]
    assert math.isnan(points["nan"][0].value)
    assert points["inf"][0].value == -math.inf
    assert "0123456789" not in (trial.directory / "run.json").read_text()
    assert digest(stores) == before


def test_importing_again_updates_what_has_changed(imports: Import, stores: Path, tmp_path: Path):
    store = tmp_path / "mlruns"
    shutil.copytree(stores / "mlruns", store)
    status, printed, _ = imports(store, "--dry-run")
    assert (status, printed.splitlines()[-1], all_runs()) == (0, "6 would be imported, 0 already there", [])
    imports(store)
    trial = by_name()["digits/trial"]
    trial.update(note="mine", tags=["kept"], name="renamed")
    # A version of a registered model names the run that made it.
    model = store / "models" / "m" / "version-1"
    model.mkdir(parents=True)
    (model / "meta.yaml").write_text(f"name: m\nrun_id: {trial.values['imported']['id']}\nstatus: READY\nversion: 1\n")
    assert imports(store) == (0, "0 imported, 6 already there", "")
    [path] = store.glob(f"*/{trial.values['imported']['id']}/metrics/val/loss")
    with path.open("a") as file:
        file.write(f"{START + 5000} 0.125 50\n{START}")  # a line, and the beginning of another
    assert imports(store)[1] == "0 imported, 1 updated, 5 already there"
    trial = by_name()["renamed"]
    assert (trial.values["best"]["value"], trial.values["note"], trial.values["tags"]) == (0.125, "mine", ["kept"])
    assert len(curves(trial.directory)["val/loss"]) == 5
    # The run itself is recognised, not its path.
    shutil.move(store, tmp_path / "moved")
    assert imports(tmp_path / "moved")[1] == "0 imported, 6 updated, 0 already there"


class Model(BoringModel):
    def __init__(self, lr: float, net: dict[str, Any]) -> None:
        super().__init__()
        self.save_hyperparameters()

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        out = super().training_step(batch, batch_idx)
        self.log("train_loss", out["loss"])
        return out


def test_event_directories_of_torch_and_lightning_become_records(imports: Import, tmp_path: Path):
    logs = tmp_path / "logs"
    with SummaryWriter(str(logs / "one")) as writer:
        for step in range(3):
            writer.add_scalar("val/acc", 0.5 + step / 8, step, walltime=1_790_000_000.0 + step)
            writer.add_scalar("tensor", step, step, new_style=True)
        writer.add_text("hello", "x")
        writer.add_hparams({"lr": 0.1, "net/width": 64, "opt": "adam"}, {"hparam/score": 0.5})
    with SummaryWriter(str(logs / "search")) as writer:
        for lr in (0.1, 0.2):
            writer.add_hparams({"lr": lr}, {"score": lr}, run_name=f"trial-{lr}")
    for name, default in {"a": True, "b": False}.items():
        logger = TensorBoardLogger(logs, name=name, default_hp_metric=default)
        trainer = pl.Trainer(
            max_steps=20, log_every_n_steps=5, logger=logger, enable_progress_bar=False, accelerator="cpu",
            enable_checkpointing=False, enable_model_summary=False, limit_val_batches=0,
        )  # fmt: skip
        trainer.fit(Model(0.05, {"widths": [1, 2]}))
    before = digest(logs)
    status, printed, _ = imports(logs, "--monitor", "val/acc")
    assert (status, printed) == (1, "5 imported, 0 already there, 1 skipped")  # the writer of the search has no scalars
    assert digest(logs) == before
    found = by_name()
    assert found.keys() == {"logs/one", "search/trial-0.1", "search/trial-0.2", "a/version_0", "b/version_0"}
    one = found["logs/one"]
    assert settings_of(one) == {"lr": 0.1, "net.width": 64, "opt": "adam"}
    assert one.values["best"]["value"] == 0.75
    assert one.started.timestamp() == 1_790_000_000.0
    points = curves(one.directory)
    assert [point[:2] for point in points["val/acc"]] == [(step, 1_790_000_000.0 + step) for step in range(3)]
    assert [point.value for point in points["tensor"]] == [0, 1, 2]
    for name in ("a", "b"):
        run = found[f"{name}/version_0"]
        assert settings_of(run) == {"lr": 0.05, "net.widths": [1, 2]}
        assert run.values["metrics"].keys() == {"train_loss", "epoch"}
        assert len(curves(run.directory)["train_loss"]) == 4


def test_a_run_of_this_project_returns_from_mlflow_as_it_was(
    imports: Import, stores: Path, train_here: Command, outputs: Path
):
    outputs.mkdir()
    shutil.copy(stores / "database" / "mlflow.db", outputs)
    done = train_here("logger=[tensorboard,mlflow]", "name=mine")
    assert (done.status, done.stderr) == (0, "")
    [original] = all_runs()
    assert imports(outputs / "mlflow.db")[0] == 0
    copy = by_name()["tracking/mine"]
    assert original.values["metrics"].items() <= copy.values["metrics"].items()
    assert copy.values["best"]["value"] == original.values["best"]["value"]
    assert (copy.values["best"]["metric"], copy.values["config"]["mode"]) == ("val/acc", "max")
    expected, found = curves(original.directory), curves(copy.directory)
    expected.pop("best/val/acc")
    assert found.keys() == expected.keys()
    for name, points in expected.items():
        assert [(p.step, p.value) for p in found[name]] == [(p.step, p.value) for p in points], name
    settings = settings_of(copy)
    for name in ("seed", "optimizer.lr", "optimizer.betas", "model.hidden", "data.train_size", "trainer.max_epochs"):
        assert settings[name] == settings_of(original)[name], name
    assert (settings["optimizer"], settings["task"]) == ("Adam", "Classifier")


def test_imported_runs_are_shown_and_compared_among_themselves(
    imports: Import, stores: Path, make_run: MakeRun, capfd: pytest.CaptureFixture[str], tmp_path: Path
):
    own = make_run("seed=1", status="interrupted")
    make_run("seed=2")
    imports(stores)
    found = all_runs()
    assert {run.values["id"] for run in Filter("imported=='mlflow'").choose(found)} == {
        run.values["id"] for run in found if run.is_imported
    }
    assert len(Filter("not imported").choose(found)) == 2
    here = [run for run in found if run.values["name"] == "digits/trial"]
    assert len({data_of(run) for run in here}) == 2  # of each store
    assert find_best(found, "val/loss") in here
    id = here[0].values["id"]
    for words in (
        ["ls"],
        ["show", id],
        ["diff", id, here[1].values["id"]],
        ["best", "--metric", "val/loss"],
        ["export", id],
        ["ls", "--fold", "seed"],
        ["baseline", id],
        ["ls"],
        ["baseline", "none"],
    ):
        assert main(words) == 0, words
    printed = capfd.readouterr().out
    assert "from mlflow, run" in printed
    assert f"{id},val/loss,30," in printed
    assert "from mlflow, run" in make_report(here)
    with View(lambda: found) as view:
        names = [path.name for path in view.directory.iterdir()]
        assert len([name for name in names if " digits " in name and " trial " in name]) == len(here)
        assert all(any(run.values["id"][-4:] in name for name in names) for run in here)
    # Commands that need a checkpoint or the code report the reason; keywords select runs of this project.
    for do in (find_to_rebuild, find_to_resume, runs.model):
        with pytest.raises(UserError, match=f"^{id} was imported from mlflow: [^\n]+$"):
            do(id)
    assert main(["reproduce", id]) == 1
    assert "was imported from mlflow" in capfd.readouterr().err
    assert not find_to_rebuild("latest").is_imported
    assert find_to_resume("latest").values["id"] == own.values["id"]


def test_configurations_of_imported_runs_are_compared(
    imports: Import, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    """Without seeds, and without a command that would train further ones."""
    for lr in (0.1, 0.2):
        writer = SummaryWriter(tmp_path / "events" / f"lr{lr}")
        writer.add_hparams({"lr": lr}, {"val/loss": lr}, run_name=".")
        writer.close()
    assert imports(tmp_path / "events")[0] == 0
    a, b = (record.values["id"] for record in all_runs())
    assert main(["compare", a, b]) == 0
    printed = capfd.readouterr().out
    assert "val/loss" in printed
    assert "src.train" not in printed


def test_what_is_damaged_or_leads_elsewhere_is_skipped_in_a_line(imports: Import, stores: Path, tmp_path: Path):
    store, secret = tmp_path / "mlruns", tmp_path / "secret"
    shutil.copytree(stores / "mlruns", store)
    secret.write_text("password")
    [trial] = {path.parents[2] for path in store.glob("*/*/metrics/val/loss")}
    (trial / "metrics" / "bad").write_text("a b c\n")
    (trial / "params" / "link").symlink_to(secret)
    (trial / "params" / "long").write_text("x" * (2 << 20))
    os.mkfifo(trial / "params" / "fifo")
    for run, text in zip(
        sorted(set(trial.parent.iterdir()) - {trial}), ["[", "!!python/object/apply:os.getcwd []"], strict=False
    ):
        if run.is_dir():
            (run / "meta.yaml").write_text(text)
    (tmp_path / "cut.db").write_bytes((stores / "database" / "mlflow.db").read_bytes()[:9000])
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE runs (x)").connection.commit()
    events = tmp_path / "events"
    events.mkdir()
    (events / "events.out.tfevents.1.x").symlink_to(secret)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "events.out.tfevents.1.x").write_bytes(b"no events")
    status, printed, errors = imports(tmp_path)
    lines = errors.splitlines()
    assert status == 1
    assert all(line.startswith("warning: ") and line.endswith(" Skipped.") for line in lines)
    for word in ("metrics/bad", "params/link", "params/long", "params/fifo", "cut.db", "other.db", "events", "empty"):
        assert sum(f"/{word}" in line for line in lines) == 1, (word, errors)
    assert sum("meta.yaml is not a YAML file" in line for line in lines) == 2
    assert printed.endswith(f"{len(lines)} skipped")
    assert settings_of(by_name()["digits/trial"]).keys().isdisjoint({"link", "long", "fifo"})


def test_wrong_arguments_are_reported(imports: Import, tmp_path: Path):
    (tmp_path / "text").write_text("x")
    for words, status, message in (
        ([tmp_path / "text"], 1, "neither a directory nor an SQLite database"),
        ([tmp_path / "none"], 1, "does not exist"),
        ([tmp_path], 1, "no MLflow run and no TensorBoard event file"),
        ([tmp_path, "--monitor", "score"], 2, "add --mode min or --mode max"),
        ([tmp_path, "--mode", "min"], 2, "add --monitor NAME"),
        ([tmp_path, "--tag", "a b"], 2, "a tag has letters"),
    ):
        found, _, errors = imports(*words)
        assert (found, len(errors.splitlines()), message in errors) == (status, 1, True), errors


def test_rows_for_programs(imports: Import, stores: Path):
    rows = json.loads(imports(stores / "mlruns", "--json")[1])
    assert {row["outcome"] for row in rows} == {"imported"}
    assert {"id", "name", "kind", "status", "started", "points"} < rows[0].keys()
