"""The events of trainings and sweeps, as a command of the user receives them."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Command

APPEND = "import sys; print(sys.stdin.read(), file=open(sys.argv[1], 'a'))"


@pytest.fixture
def events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The events so far."""
    file = tmp_path / "events"
    settings = {"command": [sys.executable, "-c", APPEND, str(file)], "plateau": 2}
    monkeypatch.setenv("TRACKING_NOTIFICATIONS", json.dumps(settings))

    def read() -> list[dict[str, Any]]:
        found = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        file.unlink(missing_ok=True)
        return found

    return read


def test_the_end_of_a_run_is_sent(train_here: Command, events):
    done = train_here("name=small")
    [event], [run] = events(), done.runs
    assert (event["event"], event["run"], event["status"]) == ("done", run["id"], "done")
    assert event["text"].startswith(f"{run['id']} (small) done, best/val/acc {run['best']['value']:.4f} in epoch")
    assert event["metrics"]["test/acc"] == run["metrics"]["test/acc"]
    assert "APPEND" not in (text := (done.directories[0] / "run.json").read_text())
    assert "sys.stdin" not in text


def test_a_loss_that_is_not_finite_is_an_event_of_its_own(train_here: Command, events):
    assert train_here("optimizer=sgd", "optimizer.lr=1e30").status == 1
    [event] = events()
    assert event["event"] == "nan"
    assert "train/loss became nan at step" in event["text"]


def test_a_plateau_is_sent_once(train_here: Command, events):
    train_here("optimizer=sgd", "optimizer.lr=1e-30", "trainer.max_epochs=6")
    plateau, done = events()
    assert (plateau["event"], plateau["epoch"], done["event"]) == ("plateau", 3, "done")
    assert "val/acc has not improved for 2 epochs (best " in plateau["text"]


def test_a_module_whose_metric_is_not_finite(train_here: Command, events):
    done = train_here("experiment=example_autoencoder", "data.train_size=640", "task.lr=1e30", small=False)
    assert done.status == 0, done.stderr
    assert [event["event"] for event in events()] == ["nan", "done"]
    [run] = done.runs
    assert (run["best"]["metric"], run["best"]["value"], run["metrics"]["val_loss"]) == ("val_loss", None, None)


def test_settings_that_are_not_valid_are_refused_before_a_run(train_here: Command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TRACKING_NOTIFICATIONS", "{webhok: x}")
    done = train_here()
    assert (done.status, done.runs) == (2, [])
    assert "did you mean 'webhook'" in done.stderr


def test_a_sweep_is_one_event(train: Command, events):
    done = train("-m", "seed=1,2", "optimizer=sgd", "optimizer.lr=0.1,1e30", "trainer.max_epochs=1")
    assert done.status == 1
    [event] = events()
    assert (event["event"], event["jobs"]) == ("failed", {"done": 2, "failed": 2})
    best = max((run for run in done.runs if run["status"] == "done"), key=lambda run: run["best"]["value"])
    assert event["best"]["run"] == best["id"]
    assert f"best/val/acc {best['best']['value']:.4f}" in event["text"]
