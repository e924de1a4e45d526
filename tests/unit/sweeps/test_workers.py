"""Processes for the jobs of a sweep: how they start and end."""

import os
import signal
import time
from pathlib import Path

import pytest

from src.launching import stop
from src.sweeps.workers import Workers


def write(path: Path, text: str) -> None:
    path.write_text(text)


def end(status: int) -> None:
    raise SystemExit(status)


def end_by(signum: int) -> None:
    os.kill(os.getpid(), signum)


def save_when_told(path: Path) -> None:
    def save(*_: object) -> None:
        path.write_text("saved")
        raise SystemExit(143)

    signal.signal(signal.SIGTERM, save)
    path.write_text("begun")
    while True:
        time.sleep(0.05)


def until_none_runs(workers: Workers) -> dict[int, int]:
    ended = {}
    while workers.running:
        ended |= {one.job: one.status for one in workers.wait()}
    return ended


def test_each_job_has_a_process_of_its_own_and_its_end_is_told():
    workers = Workers(3)
    assert workers.is_free
    workers.start(4, end, 0)
    workers.start(2, end, 3)
    workers.start(7, end_by, signal.SIGKILL)
    assert not workers.is_free
    assert until_none_runs(workers) == {4: 0, 2: 3, 7: -signal.SIGKILL}
    assert workers.is_free


def test_a_worker_is_free_as_soon_as_its_job_has_ended(tmp_path: Path):
    workers = Workers(2)
    workers.start(0, save_when_told, tmp_path / "long")
    for job in (1, 2, 3):
        workers.start(job, write, tmp_path / f"{job}", "done")
        while not (ended := workers.wait()):
            pass
        assert [one.job for one in ended] == [job]
    assert list(workers.running) == [0]
    with workers:
        while not (tmp_path / "long").exists():
            time.sleep(0.01)
    assert (tmp_path / "long").read_text() == "saved"


def test_jobs_that_do_not_end_when_they_are_told_are_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("src.sweeps.workers.GRACE_S", 0.2)
    usual = {signum: signal.getsignal(signum) for signum in stop.STOP}
    try:
        stop.pass_on_stop()
        workers = Workers(1)
        workers.start(0, signal_is_ignored, tmp_path / "begun")
        while not (tmp_path / "begun").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)
        assert until_none_runs(workers) == {0: -signal.SIGKILL}
    finally:
        for signum, handler in usual.items():
            signal.signal(signum, handler)


def signal_is_ignored(path: Path) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    path.write_text("")
    time.sleep(60)
