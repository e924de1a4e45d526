"""Temperature scaling: what it finds, what it changes, what it never changes."""

import json
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src.evaluate import main
from src.records.record import Record
from tests.conftest import Command

CALIBRATION = "events.out.tfevents.*.calibration"


def test_the_effect_is_measured_on_both_sets_and_kept(train_here: Command, capfd: pytest.CaptureFixture[str]):
    [directory] = train_here().directories
    assert main([str(directory), "--calibrate", "checkpoint=best", "--json"]) == 0
    entry = json.loads(capfd.readouterr().out)
    record = Record.load(directory).values
    assert record["calibration"] == entry

    before, after = entry["before"], entry["after"]
    results = json.loads((directory / "results.json").read_text())
    assert before["test/ece"] == pytest.approx(results["calibration"]["ece"], abs=1e-4)
    assert before["test/nll"] == pytest.approx(record["metrics"]["test/loss"], abs=1e-5)
    assert before["test/acc"] == pytest.approx(record["metrics"]["test/acc"])
    assert before["val/acc"] == pytest.approx(record["best"]["value"])
    for split in ("val", "test"):
        assert after[f"{split}/acc"] == before[f"{split}/acc"]
    assert after["val/nll"] < before["val/nll"]

    assert main([str(directory), "--calibrate"]) == 0
    said = capfd.readouterr().out
    assert f"temperature {entry['temperature']:.4f}" in said
    assert f"{after['test/ece']:.4f}" in said
    assert len(list(directory.glob(CALIBRATION))) == 1
    events = EventAccumulator(str(directory))
    events.Reload()
    assert "calibration" in events.Tags()["images"]


def test_a_run_that_held_nothing_out_is_told_how_to(train_here: Command, capfd: pytest.CaptureFixture[str]):
    [directory] = train_here("data.val_size=0", "trainer.max_epochs=1").directories
    before = (directory / "run.json").read_bytes()
    assert main([str(directory), "--calibrate"]) == 1
    said = capfd.readouterr().err
    assert "data.val_size=0" in said
    assert "train with data.val_size=5000" in said
    assert (directory / "run.json").read_bytes() == before


def test_without_tensorboard_no_event_file_is_begun(train_here: Command, capfd: pytest.CaptureFixture[str]):
    [directory] = train_here("logger=none", "trainer.max_epochs=1").directories
    assert main([str(directory), "--calibrate"]) == 0
    entry: dict[str, Any] = Record.load(directory).values["calibration"]
    assert entry["temperature"] > 0
    assert not list(directory.glob("events.*"))
