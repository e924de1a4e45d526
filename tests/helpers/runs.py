"""What the tests of test_runs.py share."""

import io

import pytest
from rich.console import Console

from src.records.record import Record
from src.views.card import print_card
from tests.conftest import MakeRun


@pytest.fixture
def three(make_run: MakeRun) -> list[Record]:
    return [
        make_run("optimizer.lr=0.001", accuracy=0.90, tags=["wide", "x"]),
        make_run("optimizer=sgd", "model.hidden=[16]", accuracy=0.80, note="a note"),
        make_run("name=mine", accuracy=None, status="failed", error="RuntimeError: no"),
    ]


def card(record: Record) -> str:
    console = Console(width=200, file=io.StringIO())
    print_card(record, console)
    return console.file.getvalue()  # type: ignore[attr-defined]
