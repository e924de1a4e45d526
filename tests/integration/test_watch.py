"""``python -m src.runs watch`` in pseudo-terminals."""

import re
import signal
from pathlib import Path

import pytest

from tests.conftest import Command, MakeRun
from tests.helpers.terminals import Session


def files(folder: Path) -> dict[Path, int]:
    """When each file was last written, in nanoseconds."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_runs_are_watched_in_a_terminal(make_run: MakeRun, outputs: Path, size: tuple[int, int]):
    make_run("optimizer.lr=0.01")
    make_run("optimizer.lr=0.02", accuracy=None, status="failed", error="RuntimeError: no memory")
    before = files(outputs)
    session = Session(outputs, "watch", size=size)
    session.wait_for("1 failed, 1 done")
    session.wait_for("0001")
    session.press("f")
    session.wait_for("filter: running")
    session.press("f")
    session.wait_for("filter: failed")
    session.press("\r")
    session.wait_for("r20260101-000001-0001")
    session.press("\x1b")
    session.wait_for("enter inspect")
    session.press("q")
    assert session.end() == 0
    assert files(outputs) == before


def test_the_view_uses_no_colours_where_none_are_wanted(make_run: MakeRun, outputs: Path):
    make_run("seed=1")
    session = Session(outputs, "watch", size=(80, 24), NO_COLOR="1")
    session.wait_for("1 done")
    session.wait_for("0000")
    session.press("q")
    assert session.end() == 0
    codes = {code for found in re.findall(rb"\x1b\[([0-9;]*)m", session.output) for code in found.split(b";")}
    assert codes <= {b"", b"0", b"1", b"2", b"4", b"7", b"39", b"49"}  # attributes and the default colours
    assert b"7" in codes  # the selected row is reversed


def test_a_signal_restores_the_terminal(make_run: MakeRun, outputs: Path):
    record = make_run("seed=1")
    session = Session(outputs, "watch", record.values["id"], size=(80, 24))
    session.wait_for(record.values["id"])
    session.process.send_signal(signal.SIGTERM)
    assert session.end() == 143


def test_without_a_terminal_there_is_a_message(command: Command, make_run: MakeRun):
    make_run("seed=1")
    done = command("runs", "watch")
    assert (done.status, done.stdout) == (1, "")
    assert (
        done.stderr
        == "error: watch needs a terminal: python -m src.runs ls prints the runs, also to a file or a pipe.\n"
    )
    unknown = command("runs", "watch", "r9")
    assert (unknown.status, "there is no run of that id" in unknown.stderr) == (1, True)
