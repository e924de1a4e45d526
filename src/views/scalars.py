"""Curves from a run's event files."""

import csv
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from src.records.find import labels
from src.records.record import Record


class Point(NamedTuple):
    """One value of a curve."""

    step: int
    wall_time: float
    value: float


def curves(directory: Path) -> dict[str, list[Point]]:
    """All scalars of a run by tag, in the order of the steps; empty if there are no event files.

    As in TensorBoard, a session that starts at a step drops the points of earlier sessions from that step on.
    """
    # Importing these takes 0.3 s.
    from tensorboard.compat.proto.event_pb2 import SessionLog

    from src.loggers.event_files import in_order, read

    found: dict[str, list[Point]] = {}
    for path in in_order(directory).values():
        for event in read(path):
            if event.session_log.status == SessionLog.START:
                found = {tag: [point for point in points if point.step < event.step] for tag, points in found.items()}
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    point = Point(event.step, event.wall_time, value.simple_value)
                    found.setdefault(value.tag, []).append(point)
    return {tag: found[tag] for tag in sorted(found) if found[tag]}


class RunPoint(NamedTuple):
    """A point of a curve of a run, in long format. Times are in seconds since 1970."""

    run: str
    tag: str
    step: int
    wall_time: float
    value: float


def points(records: Sequence[Record]) -> Iterator[RunPoint]:
    """All points of all curves of these runs."""
    for record, label in zip(records, labels(records), strict=True):
        for tag, curve in curves(record.directory).items():
            for point in curve:
                yield RunPoint(label, tag, *point)


def export(rows: Iterable[Sequence[Any]], fields: Sequence[str], file: TextIO) -> int:
    """Write points as CSV in long format, and return their number."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(fields)
    count = 0
    for row in rows:
        writer.writerow(row)
        count += 1
    return count


def export_json(rows: Iterable[Sequence[Any]], fields: Sequence[str], file: TextIO) -> int:
    """Write points as a JSON list of objects, and return their number. NaN and Inf, which JSON does not have, are null."""
    found = [{field: _finite(value) for field, value in zip(fields, row, strict=True)} for row in rows]
    file.write(json.dumps(found, indent=2, allow_nan=False) + "\n")
    return len(found)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def plot(values: list[float], width: int = 60, ascii_only: bool = False) -> str:
    """Plot a curve as a line of block characters, or of ASCII characters of increasing height."""
    blocks = "_.-=^" if ascii_only else "▁▂▃▄▅▆▇█"
    if len(values) > width:
        values = [values[round(number * (len(values) - 1) / (width - 1))] for number in range(width)]
    low, high = min(values), max(values)
    spread = (high - low) or 1.0
    return "".join(blocks[round((value - low) / spread * (len(blocks) - 1))] for value in values)
