"""Temporary log directory for TensorBoard, with links to the runs, which are not changed."""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
from tensorboard.compat.proto.summary_pb2 import Summary

from src.config.schemas import default_of
from src.dashboard.copies import Change, Copy, by_samples, in_group
from src.dashboard.names import group_names, readable_names
from src.loggers.event_files import EVENTS, in_order, write_events
from src.loggers.hparams import END_SUFFIX, START_SUFFIX, columns, hparams, session_end, session_start
from src.records.record import Record
from src.records.summary import metric_names, summary
from src.views.scalars import curves

_PREFIX = "runs-dashboard-"


class View:
    """A directory with a folder for each chosen run, kept up to date.

    The directories contain links to the run's event files, and copies of the projector's files. Entries that TensorBoard would
    show incorrectly are rewritten: the end of a run that was killed, and the columns of HParams, where plain TensorBoard
    shows every setting in arbitrary order.

    Args:
        choose: returns the current selection of runs.
        samples_axis: plot all curves over the samples seen instead of the optimizer step.
        mean_over_seeds: show runs that differ only in the seed in one row of HParams.
    """

    def __init__(
        self, choose: Callable[[], Sequence[Record]], *, samples_axis: bool = False, mean_over_seeds: bool = False
    ) -> None:
        self._choose, self._samples_axis, self._mean_over_seeds = choose, samples_axis, mean_over_seeds
        remove_stale()
        self.directory = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
        self._runs: dict[str, _Run] = {}  # by name
        self._columns: tuple[int, bytes] = (0, b"")

    def __enter__(self) -> "View":
        self.refresh()
        return self

    def __exit__(self, *_: object) -> None:
        for run in self._runs.values():
            run.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __len__(self) -> int:
        return len(self._runs)

    def refresh(self) -> None:
        """Update the directory to the current state of the runs."""
        records = self._choose()
        chosen = dict(zip(readable_names(records), records, strict=True))
        groups = group_names(chosen) if self._mean_over_seeds else {}
        for name, run in list(self._runs.items()):
            if name not in chosen or run.group != groups.get(name):
                self._runs.pop(name).remove()
        for name, record in chosen.items():
            if name not in self._runs:
                self._runs[name] = _Run(self.directory, name, self._samples_axis, groups.get(name))
            self._runs[name].follow(record)
        self._write_columns(records)

    def _write_columns(self, records: Sequence[Record]) -> None:
        """Write the columns of HParams; in a new file when they change, since TensorBoard uses the first that it reads."""
        settings = [hparams(record.values["config"]) for record in records]
        found = columns(settings, metric_names(map(summary, records)))
        number, before = self._columns
        if (now := found.SerializeToString()) == before:
            return
        self._columns = (number + 1, now)
        folder = self.directory / f"_columns {number + 1}"
        folder.mkdir()
        write_events(folder, ".columns", found)
        if number:
            shutil.rmtree(self.directory / f"_columns {number}")


class _Run:
    """The folder of a run in the view."""

    def __init__(self, root: Path, name: str, samples_axis: bool, group: str | None) -> None:
        self.root, self.folder = root, root / name
        self.group, self.samples_axis = group, samples_axis
        self._samples: list[tuple[int, float]] = []
        self._copies: dict[Path, Copy] = {}
        self._own: set[str] = set()
        self.folder.mkdir(parents=True)

    def follow(self, record: Record) -> None:
        """Link new files, remove deleted ones, and update the modified copies."""
        wanted = dict(self._files(record))
        for path in [path for path in self._present() if path not in wanted]:
            if path in self._copies:
                self._copies.pop(path).close()
            (self.folder / path).unlink()
        if self.samples_axis:
            points = curves(record.directory).get("samples", [])
            self._samples[:] = [(point.step, point.value) for point in points]
        for path, source in sorted(wanted.items()):  # TensorBoard reads the files of a folder in this order only
            change = self._change(path, record)
            if change is not None and path not in self._copies:
                self._copies[path] = Copy(source, self.folder / path, change)
            elif change is None:
                _bring(source, self.folder / path)
        for copy in self._copies.values():
            copy.advance()
        self._say(record, {path.name for path in wanted})

    def _files(self, record: Record) -> Iterator[tuple[Path, Path]]:
        """The files of a run that TensorBoard reads: path in the folder, and the original file.

        Event files get names that sort in the order in which TensorBoard must read them. For a run that has been resumed, an
        earlier end is omitted.
        """
        running = record.status == "running"
        for name, path in in_order(record.directory).items():
            if not (running and name.endswith(END_SUFFIX)):
                yield Path(name), path
        config = record.directory / "projector_config.pbtxt"
        if config.exists():
            text = config.read_text(errors="replace")
            folders = {path.split("/")[0] for path in re.findall(r'_path: "([^"]+)"', text)}
            found = (path for folder in folders for path in (record.directory / folder).rglob("*") if path.is_file())
            yield from ((path.relative_to(record.directory), path) for path in (config, *found))

    def _present(self) -> list[Path]:
        files = [path.relative_to(self.folder) for path in self.folder.rglob("*") if not path.is_dir()]
        return [path for path in files if path.name not in self._own]

    def _change(self, path: Path, record: Record) -> Change | None:
        if not path.match(EVENTS):
            return None
        if self.samples_axis and not path.name.endswith((START_SUFFIX, END_SUFFIX)):
            return by_samples(self._samples, default_of(record.values["config"]["data"], "data", "batch_size"))
        return in_group(self.group) if self.group and path.name.endswith(START_SUFFIX) else None

    def _say(self, record: Record, names: set[str]) -> None:
        """Write the start and the end of a session if the run could not write them."""
        self._once(START_SUFFIX, names, [session_start(record.values["config"], self.group or "")])
        if record.status != "running":
            self._once(END_SUFFIX, names, session_end(summary(record)))

    def _once(self, suffix: str, names: set[str], summaries: Sequence[Summary]) -> None:
        mine = {name for name in self._own if name.endswith(suffix)}
        theirs = any(name.endswith(suffix) for name in names)
        if theirs and mine:  # the run has written them since
            for name in mine:
                (self.folder / name).unlink()
            self._own -= mine
        elif not theirs and not mine:
            before = set(os.listdir(self.folder))
            write_events(self.folder, suffix, *summaries)
            self._own |= set(os.listdir(self.folder)) - before

    def close(self) -> None:
        """Close the files."""
        for copy in self._copies.values():
            copy.close()

    def remove(self) -> None:
        """Remove the folder, and its parents that are then empty."""
        self.close()
        shutil.rmtree(self.folder)
        with contextlib.suppress(OSError):  # the parent contains another run
            for above in self.folder.parents:
                if above == self.root:
                    break
                above.rmdir()


def _bring(source: Path, target: Path) -> None:
    """Link an event file, or copy a file of the projector, which rejects files outside its log directory."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.match(EVENTS):
        if not target.is_symlink():
            target.symlink_to(source)
    elif not target.exists() or target.stat().st_mtime_ns != source.stat().st_mtime_ns:
        shutil.copy2(source, target)


def remove_stale() -> None:
    """Remove the views of dashboards that were killed."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        pid = path.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdigit() and not psutil.pid_exists(int(pid)) and path.lstat().st_uid == os.getuid():
            shutil.rmtree(path, ignore_errors=True)
