"""Runs while their records change: a record is read again only after it was written."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from src.files import describe
from src.paths import runs_dir, sweeps_dir
from src.records.record import RECORD, Record
from src.records.summary import Summary, summary

# When the record in a directory was written, in nanoseconds, and its size.
_Stamp = tuple[int, int]
# Looking for new and changed records takes at most this share of the time.
_SHARE = 0.1


class LiveRuns:
    """Runs whose records are read, most recently written first, and read again only where they have changed.

    Of most runs only the summary is kept, so that ten thousand of them need little memory.

    Args:
        sweep: directory of the sweep whose jobs are read; by default all runs are.

    Attributes:
        summaries: the summary of each run, by its directory.
        damaged: a message for each record that cannot be read, by directory.
    """

    def __init__(self, sweep: Path | None = None) -> None:
        self.summaries: dict[str, Summary] = {}
        self.damaged: dict[str, str] = {}
        self._sweep = sweep
        self._stamps: dict[str, _Stamp] = {}  # of the records that have been read
        self._queue: dict[str, _Stamp] = {}  # records to read, the last one first
        self._running: dict[str, Record] = {}  # records that state that the run is running
        self._records: dict[str, Record] = {}  # what ``record`` has returned
        self._next_scan = 0.0

    @property
    def pending(self) -> int:
        """The number of records that are still to be read."""
        return len(self._queue)

    def refresh(self, seconds: float) -> None:
        """Find new, changed and removed records, and read those for about ``seconds`` at most; the others remain pending.

        Records of running runs are looked at each time, the others as often as a tenth of the time permits.
        """
        began = time.monotonic()
        if began >= self._next_scan:
            found = dict(self._scan())
            for directory in (self._stamps.keys() | self._queue.keys()) - found.keys():
                self._forget(directory)
            changed = {directory: stamp for directory, stamp in found.items() if self._stamps.get(directory) != stamp}
            self._next_scan = began + (time.monotonic() - began) / _SHARE
        else:
            changed = self._queue
            for directory in list(self._running):
                if (stamp := _stamp(directory)) is None:
                    self._forget(directory)
                elif stamp != self._stamps[directory]:
                    changed[directory] = stamp
        self._queue = dict(sorted(changed.items(), key=lambda item: item[1]))
        until = time.monotonic() + seconds
        while self._queue:
            self._read(*self._queue.popitem())
            if time.monotonic() > until:
                break
        for directory, record in self._running.items():  # status and remaining time change while the record does not
            self.summaries[directory] = summary(record)

    def record(self, directory: str) -> Record | None:
        """The record of a run that has a summary; None if it can no longer be read."""
        record = self._running.get(directory) or self._records.get(directory)
        if record is None:
            with contextlib.suppress(OSError, ValueError):  # the next refresh reports it
                record = self._records[directory] = Record.load(Path(directory))
        return record

    def keep(self, directories: set[str]) -> None:
        """Release the records of all runs but these."""
        self._records = {one: record for one, record in self._records.items() if one in directories}

    def _scan(self) -> Iterator[tuple[str, _Stamp]]:
        folders = [self._sweep] if self._sweep else [runs_dir(), *map(Path, _folders(sweeps_dir()))]
        for folder in folders:
            for directory in _folders(folder):
                if (self._sweep is None or directory.rpartition("/")[2].isdigit()) and (stamp := _stamp(directory)):
                    yield directory, stamp

    def _read(self, directory: str, stamp: _Stamp) -> None:
        self._forget(directory)
        try:
            record = Record.load(Path(directory))
        except FileNotFoundError:  # removed meanwhile
            return
        except (OSError, ValueError) as error:
            self.damaged[directory] = describe(error) if isinstance(error, OSError) else str(error)
        else:
            self.summaries[directory] = summary(record)
            if record.values["status"] == "running":
                self._running[directory] = record
        self._stamps[directory] = stamp

    def _forget(self, directory: str) -> None:
        for known in (self._stamps, self._queue, self.summaries, self.damaged, self._running, self._records):
            known.pop(directory, None)  # type: ignore[attr-defined]


def _folders(folder: Path) -> list[str]:
    try:
        return [f"{folder}/{name}" for name in os.listdir(folder)]
    except OSError:  # not a directory, or not readable
        return []


def _stamp(directory: str) -> _Stamp | None:
    try:
        status = os.stat(f"{directory}/{RECORD}")
    except OSError:  # no record, or none that may be looked at
        return None
    return status.st_mtime_ns, status.st_size
