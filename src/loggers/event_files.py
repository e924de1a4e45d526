"""Names and order of a run's event files. Imports no torch."""

import contextlib
import functools
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.compat import tf
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter, _AsyncWriter
from tensorboard.summary.writer.record_writer import RecordWriter

PREFIX = "events.out.tfevents."
EVENTS = f"{PREFIX}*"


class OrderedEventFileWriter(EventFileWriter):
    """Writes an event file whose name sorts after all existing ones.

    TensorBoard reads the files of a run in the order of their names, and the start of a session drops later points of earlier
    files. tensorboard's names consist of the second, the host, the process and a counter: of two files from the same second,
    ``.10`` sorts before ``.9``, and after the clock was set back new files sort before old ones. Here no two files of a
    directory have the same second.

    Args:
        logdir: the directory, which is created if necessary.
        max_queue_size: maximum number of pending events.
        flush_secs: seconds after which pending events are flushed.
        filename_suffix: suffix of the name.
    """

    def __init__(
        self, logdir: str, max_queue_size: int = 10, flush_secs: float = 120, filename_suffix: str = ""
    ) -> None:
        directory = Path(logdir)
        directory.mkdir(parents=True, exist_ok=True)
        begun = max([time.time(), *(int(second) + 1 for second in _begun(directory).values())])
        name = f"{PREFIX}{int(begun):010d}.{socket.gethostname()}.{os.getpid()}{filename_suffix}"
        self._logdir = logdir
        self._async_writer = _AsyncWriter(
            RecordWriter(tf.io.gfile.GFile(str(directory / name), "wb")), max_queue_size, flush_secs
        )
        self.add_event(Event(wall_time=begun, file_version="brain.Event:2"))
        self.flush()


def write_events(directory: Path, suffix: str, *summaries: Summary) -> None:
    """Write summaries to a separate event file."""
    writer = OrderedEventFileWriter(str(directory), filename_suffix=suffix)
    for summary in summaries:
        writer.add_event(Event(wall_time=time.time(), step=0, summary=summary))
    writer.close()


def in_order(directory: Path) -> dict[str, Path]:
    """The event files of a directory in chronological order, by names that sort in this order.

    The order is by the time of the first event, which also distinguishes files of other writers from the same second. Files
    without a complete event are ignored.
    """
    begun = _begun(directory)
    return {
        f"{PREFIX}{begun[path]:017.6f}.{path.name.removeprefix(PREFIX)}": path
        for path in sorted(begun, key=lambda path: begun[path])
    }


def read(path: Path) -> Iterator[Event]:
    """The complete events of an event file; none if the file has been removed."""
    with contextlib.suppress(tf.errors.NotFoundError):
        yield from LegacyEventFileLoader(str(path)).Load()


def _begun(directory: Path) -> dict[Path, float]:
    """Start time of each event file of a directory, in seconds since 1970."""
    begun = {}
    for path in directory.glob(EVENTS):
        with contextlib.suppress(LookupError):
            begun[path] = _first_time(path)
    return begun


@functools.cache  # a dashboard asks every few seconds
def _first_time(path: Path) -> float:
    """Time of the first event of a file, in seconds since 1970.

    Raises:
        LookupError: the file has no event yet.
    """
    for event in read(path):
        return float(event.wall_time)
    raise LookupError(path)
