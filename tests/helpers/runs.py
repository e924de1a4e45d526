"""What tests of the run table and of reports share."""

import io
import re

import pytest
from rich.console import Console
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary

from src.loggers.event_files import OrderedEventFileWriter
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


def log(record: Record, tag: str, *values: float) -> None:
    """Write a curve with a point every ten steps."""
    name = re.sub(r"\W", "-", tag)[:100]
    writer = OrderedEventFileWriter(str(record.directory), filename_suffix=f".{name}")
    for number, value in enumerate(values, 1):
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
        writer.add_event(Event(wall_time=1.0, step=10 * number, summary=summary))
    writer.close()
