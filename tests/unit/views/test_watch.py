"""The live view: its keys and its content, driven by Textual's pilot over real records."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Static

from src.records.record import RECORD, Record
from src.records.sweep import Sweep
from src.views.monitor import Monitor
from src.views.watch import Watch
from tests.conftest import MakeRun

Steps = Callable[["Pilot[int]", Watch], Awaitable[None]]


@pytest.fixture(autouse=True)
def here(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTPUTS_DIR", str(outputs))


def drive(app: Watch, steps: Steps, size: tuple[int, int] = (80, 24)) -> int | None:
    async def session() -> None:
        async with app.run_test(size=size) as pilot:
            await steps(pilot, app)

    asyncio.run(session())
    return app.return_value


async def until(pilot: "Pilot[int]", condition: Callable[[], bool]) -> None:
    for _ in range(200):
        if condition():
            return
        await pilot.pause(0.05)
    assert condition()


def lines(app: Watch) -> list[str]:
    """The rows of the table."""
    table = app.screen_stack[0].query_one(DataTable)
    return ["  ".join(str(cell) for cell in table.get_row_at(row)) for row in range(table.row_count)]


def text(app: Watch, name: str) -> str:
    return str(app.screen_stack[0].query_one(f"#{name}", Static).content)


def details(app: Watch) -> str:
    """The inspected run as displayed."""
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips(app.size))


def test_running_runs_are_first_with_their_progress(make_run: MakeRun):
    progress = {
        "epochs_completed": 2,
        "max_epochs": 10,
        "step": 20,
        "seconds_per_epoch": 60.0,
        "at": "2026-01-01T00:02:00+00:00",
    }
    make_run("optimizer.lr=0.01", status="running", progress=progress, duration_s=None)
    make_run("optimizer.lr=0.02", accuracy=0.8, name="wide")
    make_run("optimizer.lr=0.03", accuracy=None, status="failed", error="RuntimeError: no memory")

    async def steps(pilot: "Pilot[int]", app: Watch) -> None:
        await until(pilot, lambda: len(lines(app)) == 3)
        running, failed, done = lines(app)
        assert ("0000" in running, "epoch 3/10" in running) == (True, True)
        assert ("RuntimeError: no" in failed, "0.03" in failed) == (True, True)
        assert ("wide" in done, "0.8000" in done) == (True, True)
        assert text(app, "heading") == "1 running, 1 failed, 1 done"
        await pilot.press("q")

    assert drive(Watch(Monitor()), steps, (120, 30)) == 0


def test_keys_sort_and_filter(make_run: MakeRun):
    for number, accuracy in enumerate((0.7, 0.9, 0.8)):
        make_run(f"seed={number + 1}", accuracy=accuracy)
    make_run("seed=4", accuracy=None, status="failed", error="RuntimeError: no")

    async def steps(pilot: "Pilot[int]", app: Watch) -> None:
        await until(pilot, lambda: len(lines(app)) == 4)
        assert [line[:4] for line in lines(app)] == ["0003", "0002", "0001", "0000"]
        await pilot.press("s")
        await until(pilot, lambda: "order: best" in text(app, "state"))
        assert [line[:4] for line in lines(app)] == ["0001", "0002", "0000", "0003"]
        await pilot.press("f")
        await until(pilot, lambda: "filter: running" in text(app, "state"))
        assert lines(app) == []
        await pilot.press("f")
        await until(pilot, lambda: "filter: failed" in text(app, "state"))
        assert [line[:4] for line in lines(app)] == ["0003"]
        await pilot.press("question_mark")
        await pilot.pause()
        assert "Ctrl-C" in details(app)
        await pilot.press("ctrl+c")

    assert drive(Watch(Monitor()), steps) == 130


def test_a_run_is_inspected(make_run: MakeRun):
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    from src.loggers.event_files import OrderedEventFileWriter

    make_run("optimizer.lr=0.01")
    record = make_run("optimizer.lr=0.02", accuracy=None, status="failed", error="RuntimeError: no memory")
    writer = OrderedEventFileWriter(str(record.directory))
    for step in range(20):
        value = Summary.Value(tag="train/loss", simple_value=1 / (step + 1))
        writer.add_event(Event(wall_time=1.0, step=step, summary=Summary(value=[value])))
    writer.close()
    (record.directory / "train.log").write_text("".join(f"line {number}\n" for number in range(1000)))

    async def steps(pilot: "Pilot[int]", app: Watch) -> None:
        await until(pilot, lambda: len(lines(app)) == 2)
        await pilot.press("enter")
        await until(pilot, lambda: "RuntimeError" in details(app))
        shown = details(app)
        assert record.values["id"] in shown
        assert "optimizer.lr  0.02" in shown
        assert "1 to 0.05" in shown
        assert "█" in shown
        assert "line 990" in shown
        await pilot.press("end")
        await pilot.pause()
        assert "line 999" in details(app)
        await pilot.press("escape", "down", "enter")
        await until(pilot, lambda: "0.9000" in details(app))
        await pilot.press("q")

    assert drive(Watch(Monitor()), steps, (80, 24)) == 0


def test_runs_appear_finish_and_are_removed_while_watching(make_run: MakeRun, outputs: Path):
    first = make_run("seed=1", status="running", duration_s=None)
    other = make_run("seed=2")

    async def steps(pilot: "Pilot[int]", app: Watch) -> None:
        table = app.screen_stack[0].query_one(DataTable)
        await until(pilot, lambda: len(lines(app)) == 2)
        await pilot.press("down")
        first.update(status="done", duration_s=5.0)
        third = make_run("seed=3")
        await until(pilot, lambda: [line[:4] for line in lines(app)] == ["0002", "0001", "0000"])
        assert table.cursor_row == 1  # the same run is selected
        (third.directory / RECORD).write_text("{")
        await until(pilot, lambda: "1 unreadable" in text(app, "state"))
        assert len(lines(app)) == 2
        await pilot.press("enter")
        await until(pilot, lambda: other.values["id"] in details(app))
        shutil.rmtree(other.directory)
        await until(pilot, lambda: "was removed" in details(app))
        await pilot.press("escape")
        await until(pilot, lambda: len(lines(app)) == 1)
        shutil.rmtree(outputs)
        await until(pilot, lambda: "no runs yet" in text(app, "heading"))
        await pilot.press("enter", "q")

    assert drive(Watch(Monitor()), steps) == 0


def test_the_jobs_of_a_sweep(make_run: MakeRun, outputs: Path):
    records: list[Record] = [
        make_run("optimizer.lr=0.01", sweep="s20260101-000000-abcd"),
        make_run("optimizer.lr=0.02", sweep="s20260101-000000-abcd", status="failed", error="RuntimeError: no"),
    ]
    make_run("seed=1")
    jobs = [["optimizer.lr=0.01"], ["optimizer.lr=0.02"], ["optimizer.lr=0.03"]]
    sweep = Sweep.start(records[0].directory.parent, [], [], jobs=jobs, trials=3, mode="max", search=None, git=None)

    async def steps(pilot: "Pilot[int]", app: Watch) -> None:
        await until(pilot, lambda: len(lines(app)) == 2)
        assert [line[:3] for line in lines(app)] == ["000", "001"]
        heading = "sweep s20260101-000000-abcd: 1 of 3 jobs finished (1 failed, 1 done, 1 not started)"
        assert text(app, "heading") == heading
        await pilot.press("q")

    assert drive(Watch(Monitor(sweep)), steps) == 0


def test_a_table_of_many_runs_shows_the_latest(make_run: MakeRun):
    for number in range(5):
        make_run(f"seed={number}")

    async def steps(pilot: "Pilot[int]", app: Watch) -> None:
        await until(pilot, lambda: "3 of 5 runs" in text(app, "state"))
        assert len(lines(app)) == 3
        await pilot.press("q")

    assert drive(Watch(Monitor(limit=3)), steps) == 0
