"""Curves, read from a run's event files by TensorBoard's own reader; rewound where a run was resumed."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TextIO

from src.tracking.record import Record


class Point(NamedTuple):
    """One value of a curve."""

    step: int
    wall_time: float
    value: float


def curves(directory: Path) -> dict[str, list[Point]]:
    """Every scalar of a run by its tag, in the order of the steps; nothing where there are no event files."""
    # It takes a third of a second to import.
    from tensorboard.backend.event_processing import tag_types
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    if not any(directory.glob("events.out.tfevents.*")):
        return {}
    guidance = dict.fromkeys(
        (tag_types.TENSORS, tag_types.IMAGES, tag_types.AUDIO, tag_types.HISTOGRAMS, tag_types.COMPRESSED_HISTOGRAMS), 1
    )
    events = EventAccumulator(str(directory), size_guidance={**guidance, tag_types.SCALARS: 0})
    events.Reload()
    return {
        tag: [Point(point.step, point.wall_time, point.value) for point in events.Scalars(tag)]
        for tag in sorted(events.Tags()["scalars"])
    }


class RunPoint(NamedTuple):
    """One value of a curve of one run: the long format. Times are seconds since 1970."""

    run: str
    tag: str
    step: int
    wall_time: float
    value: float


def points(records: Iterable[Record]) -> Iterator[RunPoint]:
    """Every point of every curve of these runs."""
    for record in records:
        for tag, curve in curves(record.directory).items():
            for point in curve:
                yield RunPoint(record.values["id"], tag, *point)


def export(records: Iterable[Record], file: TextIO) -> int:
    """Write them as CSV in the long format, and return how many there are."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(RunPoint._fields)
    count = 0
    for point in points(records):
        writer.writerow(point)
        count += 1
    return count


def plot(values: list[float], width: int = 60, ascii_only: bool = False) -> str:
    """A curve as a line of blocks, or of ASCII characters of rising height."""
    blocks = "_.-=^" if ascii_only else "▁▂▃▄▅▆▇█"
    if len(values) > width:
        values = [values[round(number * (len(values) - 1) / (width - 1))] for number in range(width)]
    low, high = min(values), max(values)
    spread = (high - low) or 1.0
    return "".join(blocks[round((value - low) / spread * (len(blocks) - 1))] for value in values)
