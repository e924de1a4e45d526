"""Runs while their records change."""

import os
from pathlib import Path

import pytest

from src.records.live import LiveRuns
from src.records.record import RECORD
from tests.conftest import MakeRun


@pytest.fixture(autouse=True)
def here(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTPUTS_DIR", str(outputs))


def test_only_changed_records_are_read_again(make_run: MakeRun):
    record = make_run("seed=1", name="before")
    runs, path = LiveRuns(), record.directory / RECORD
    runs.refresh(10)
    written = path.stat()
    path.write_text(path.read_text().replace('"before"', '"second"'))
    os.utime(path, ns=(written.st_atime_ns, written.st_mtime_ns))
    runs._next_scan = 0.0
    runs.refresh(10)
    assert [run.name for run in runs.summaries.values()] == ["before"]  # neither its time nor its size tells a change
    os.utime(path)
    runs._next_scan = 0.0
    runs.refresh(10)
    assert [run.name for run in runs.summaries.values()] == ["second"]


def test_records_are_read_in_portions_the_latest_first(make_run: MakeRun):
    for number in range(3):
        record = make_run(f"seed={number}")
        os.utime(record.directory / RECORD, (number, number))
    runs = LiveRuns()
    runs.refresh(0)
    assert (list(runs.summaries), runs.pending) == ([str(record.directory)], 2)
    runs.refresh(0)
    runs.refresh(0)
    assert (len(runs.summaries), runs.pending) == (3, 0)


def test_a_killed_run_is_interrupted_though_its_record_does_not_change(make_run: MakeRun):
    record = make_run("seed=1", status="running", killed=True)
    runs = LiveRuns()
    runs.refresh(10)
    assert runs.summaries[str(record.directory)].status == "interrupted"
