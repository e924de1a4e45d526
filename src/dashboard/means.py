"""Runs in TensorBoard with the mean curves of replicates."""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from src.dashboard.columns import LOWER, UPPER
from src.dashboard.plugins import displayed
from src.loggers.event_files import PREFIX
from src.views.bands import BandPoint


def with_band(curves: Mapping[str, Sequence[BandPoint]]) -> list[str]:
    """The tags of curves to show with a band: those of whole epochs, validation first."""
    tags = [tag for tag, points in curves.items() if len(points) > 1 and displayed(tag) == tag]
    return sorted(tags, key=lambda tag: (not tag.startswith("val"), tag))


def write_mean(folder: Path, curves: Mapping[str, Sequence[BandPoint]]) -> None:
    """Write mean curves under the tags of the runs, and the edges of their bands, mean ± standard deviation.

    Args:
        folder: a new folder, which is created.
        curves: the mean curves by tag.
    """
    folder.mkdir(parents=True)
    now = time.time()
    with (folder / f"{PREFIX}{int(now):010d}.mean").open("wb") as file:
        writer = RecordWriter(file)
        writer.write(Event(wall_time=now, file_version="brain.Event:2").SerializeToString())
        # TensorBoard drops the points that it has read from an earlier folder of this name.
        writer.write(Event(wall_time=now, session_log=SessionLog(status=SessionLog.START)).SerializeToString())
        for step, tag, value in _points(curves):
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
            writer.write(Event(wall_time=now, step=step, summary=summary).SerializeToString())


def _points(curves: Mapping[str, Sequence[BandPoint]]) -> Iterator[tuple[int, str, float]]:
    banded = with_band(curves)
    for tag, points in curves.items():
        for point in points:
            yield point.step, tag, point.mean
            if tag in banded:
                yield point.step, LOWER + tag, point.mean - (point.std or 0.0)
                yield point.step, UPPER + tag, point.mean + (point.std or 0.0)
