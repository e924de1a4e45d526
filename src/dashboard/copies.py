"""Modified copies of event files, updated as the originals grow."""

import bisect
from collections.abc import Callable, Sequence
from pathlib import Path

from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.plugins.hparams import metadata
from tensorboard.summary.writer.record_writer import RecordWriter

from src.loggers.hparams import session_start
from src.records.record import Record

Change = Callable[[Event], None]


class Copy:
    """A copy of an event file in which every event is modified.

    Args:
        source: the original, which is not changed.
        target: the copy.
        change: called with each event, to modify it in place.
    """

    def __init__(self, source: Path, target: Path, change: Change) -> None:
        self._loader = RawEventFileLoader(str(source))
        self._file = target.open("wb")
        self._writer, self._change = RecordWriter(self._file), change

    def advance(self) -> None:
        """Copy events that were added since the last call."""
        for raw in self._loader.Load():
            event = Event.FromString(raw)
            self._change(event)
            self._writer.write(event.SerializeToString())
        self._writer.flush()

    def close(self) -> None:
        """Close the files."""
        self._file.close()


def as_session(record: Record, group: str) -> Change:
    """Assign a session to a group, a row of HParams, and update its settings: earlier versions wrote the names of classes."""

    def change(event: Event) -> None:
        for value in event.summary.value:
            if value.tag == metadata.SESSION_START_INFO_TAG:
                value.CopyFrom(session_start(record, group).value[0])

    return change


def samples_at(points: Sequence[tuple[int, float]], batch_size: int) -> Callable[[int], int]:
    """The number of training samples seen at an optimizer step.

    Args:
        points: the curve ``samples``, (step, samples), to which points may be added later; batches between points, before
            the first and after the last one are assumed to be full.
        batch_size: number of samples in a full batch.
    """

    def samples(step: int) -> int:
        number = bisect.bisect_right(points, (step, float("inf")))
        at, seen = points[number - 1] if number else (0, 0.0)
        reached = seen + (step - at) * batch_size
        return int(min(reached, points[number][1]) if number < len(points) else reached)

    return samples


def by_samples(samples: Callable[[int], int]) -> Change:
    """Set the step of every event to the number of training samples seen, see ``samples_at``."""

    def change(event: Event) -> None:
        event.step = samples(event.step)

    return change
