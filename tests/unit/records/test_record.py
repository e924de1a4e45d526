"""Directories, ids and locks of runs."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from src.records.lock import owned
from src.records.record import claim
from tests.conftest import MakeRun


def test_starts_in_the_same_second_get_directories_of_their_own(tmp_path: Path):
    with ThreadPoolExecutor(20) as pool:
        claimed = list(pool.map(lambda _: claim(tmp_path / "runs", "r"), range(100)))
    assert len(set(claimed)) == 100
    assert all(path.is_dir() for path in claimed)


def test_ids_tell_the_time_everywhere_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    claimed = []
    for zone in ("Asia/Tokyo", "UTC", "America/New_York"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        claimed.append(claim(tmp_path, "r").name)
    monkeypatch.undo()
    time.tzset()
    times = [datetime.strptime(name[1:16], "%Y%m%d-%H%M%S").replace(tzinfo=UTC) for name in claimed]
    assert max(times) - min(times) < timedelta(minutes=1)
    assert abs(times[0] - datetime.now(UTC)) < timedelta(minutes=1)


def test_asking_whether_a_run_is_at_work_keeps_no_command_from_starting(make_run: MakeRun):
    record, ended = make_run("seed=1", status="running", killed=True), threading.Event()

    def ask() -> None:
        while not ended.is_set():
            assert record.status in ("running", "interrupted")

    askers = [threading.Thread(target=ask) for _ in range(3)]
    for asker in askers:
        asker.start()
    for _ in range(3):
        with owned(record.directory):
            assert record.status == "running"
    ended.set()
    for asker in askers:
        asker.join()
    assert record.status == "interrupted"
