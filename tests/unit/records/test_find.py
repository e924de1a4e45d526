"""Records, changed and found."""

import gc
import os
import threading
from pathlib import Path

import pytest

from src.records.find import find_before, read_all, read_latest
from src.records.record import Record
from tests.conftest import MakeRun

# tag, note


def test_what_is_tagged_while_the_run_writes_is_not_lost(make_run: MakeRun):
    directory = make_run("seed=1").directory

    def tag(word: str) -> None:
        for number in range(25):
            new = f"{word}{number}"
            Record.load(directory).change(lambda run, new=new: {"tags": [*run["tags"], new]})

    def train() -> None:
        record = Record.load(directory)
        for epoch in range(25):
            record.update(metrics={"epoch": epoch})

    threads = [threading.Thread(target=tag, args=(word,)) for word in "ab"] + [threading.Thread(target=train)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run = Record.load(directory).values
    assert len(run["tags"]) == 50
    assert run["metrics"] == {"epoch": 24}


def test_tags_given_later_stay_with_a_resumed_run(make_run: MakeRun):
    record = make_run("seed=1", status="interrupted")
    record.change(lambda _: {"tags": ["later"]})
    record.reopen(record.values["config"], [], {})
    assert record.values["tags"] == ["later"]
    record.reopen({**record.values["config"], "tags": ["told"]}, ["tags=[told]"], {})
    assert Record.load(record.directory).values["tags"] == ["told"]


def test_reading_leaves_the_garbage_collector_as_it_was(
    make_run: MakeRun, outputs: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OUTPUTS_DIR", str(outputs))
    make_run("seed=1")
    assert (len(read_all()[0]), gc.isenabled(), gc.get_freeze_count()) == (1, True, 0)
    gc.disable()
    try:
        read_all()
        assert not gc.isenabled()
    finally:
        gc.enable()


# The card


def test_the_run_before_is_the_last_that_began_whatever_its_id_says(make_run: MakeRun):
    names = ["r20260101-090000-aaaa", "r20260101-003000-bbbb", "r20260101-004000-cccc", "r20251231-230000-dddd"]
    starts = [f"2026-01-01T{time}+00:00" for time in ("00:00:00", "00:30:00", "00:40:00")] + [
        "2026-01-01T08:50:00+09:00"
    ]
    records = [make_run(f"seed={n}", started=start) for n, start in enumerate(starts)]
    for record, name in zip(records, names, strict=True):
        record.directory = record.directory.rename(record.directory.with_name(name))
    found = [find_before(Record.load(record.directory)) for record in records]
    assert [record and record.directory.name for record in found] == [names[3], names[0], names[1], None]


# ls


def test_the_latest_runs_are_found_without_reading_the_others(
    make_run: MakeRun, outputs: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OUTPUTS_DIR", str(outputs))
    starts = ["05T12:00", "02T00:00", "03T00:00", "04T00:00", "05T00:00", "06T00:00"]  # the first was changed last
    records = [make_run(f"seed={n}", started=f"2026-01-{start}:00+00:00") for n, start in enumerate(starts)]
    for record in records[1:]:
        os.utime(record.directory / "run.json", (record.started.timestamp() + 60,) * 2)
    damaged = records[1].directory / "run.json"
    changed = damaged.stat().st_mtime
    damaged.write_text("{")
    os.utime(damaged, (changed,) * 2)
    latest = read_latest(2)
    assert [record.values["id"] for record in latest.records] == [records[n].values["id"] for n in (0, 5)]
    assert sorted(latest.ids) == sorted(record.values["id"] for record in records)
    assert latest.damaged == []  # it is not read
    every = read_latest(20)
    assert (every.records[-1].values, every.damaged) == (read_all()[0][-1].values, read_all()[1])
    assert len(every.records) == len(every.ids) == 5
