"""Temporary log directory for TensorBoard, with links to the runs, which are not changed."""

import contextlib
import math
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import api_pb2

from src.config.schemas import default_of
from src.dashboard.columns import hparams_columns, margin_charts, spread
from src.dashboard.copies import Change, Copy, as_session, by_samples, samples_at
from src.dashboard.means import with_band, write_mean
from src.dashboard.names import Name, run_names
from src.loggers.event_files import EVENTS, in_order, write_events
from src.loggers.hparams import END_SUFFIX, START_SUFFIX, session_end, session_start
from src.records.record import Record
from src.records.replicates import Replicates, as_replicates
from src.records.summary import summary
from src.views.bands import bands_of
from src.views.scalars import Point, curves

_PREFIX = "runs-dashboard-"
# Seconds for mean curves before TensorBoard starts.
_MEANS_S = 2.0


class View:
    """A directory with a folder for each chosen run, kept up to date.

    The directories contain links to the run's event files, and copies of the projector's files. Entries that TensorBoard would
    show incorrectly are rewritten: the end of a run that was killed, and settings recorded by earlier versions.

    Args:
        choose: returns the current selection of runs.
        samples_axis: plot all curves over the samples seen instead of the optimizer step; runs of unknown batch size are omitted.
        mean_over_seeds: show runs that differ only in seed and fold in one row of HParams, and their mean as a run.

    Attributes:
        directory: the log directory.
        columns: the columns of HParams.
        charts: charts of the mean curves for Custom Scalars; None if there are none.
    """

    def __init__(
        self, choose: Callable[[], Sequence[Record]], *, samples_axis: bool = False, mean_over_seeds: bool = True
    ) -> None:
        self._choose, self._samples_axis, self._mean_over_seeds = choose, samples_axis, mean_over_seeds
        remove_stale()
        self.directory = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
        self.columns = api_pb2.Experiment()
        self.charts: layout_pb2.Category | None = None
        self._runs: dict[str, _Run] = {}  # by name
        self._replicates: dict[str, Replicates] = {}  # by the name of their configuration
        self._means: dict[str, _Mean] = {}  # by name

    def __enter__(self) -> "View":
        self.refresh()
        self.update_means(_MEANS_S)
        return self

    def __exit__(self, *_: object) -> None:
        for run in self._runs.values():
            run.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __len__(self) -> int:
        return len(self._runs)

    def refresh(self) -> None:
        """Update the directory to the current state of the runs, except for the means."""
        records = [record for record in self._choose() if not self._samples_axis or _batch_size(record)]
        names = run_names(records)
        groups, self._replicates = self._group(records, names)
        chosen = {self._shown(name.run, record, groups): record for name, record in zip(names, records, strict=True)}
        for name, run in list(self._runs.items()):
            if name not in chosen or run.group != groups.get(name, name):
                self._runs.pop(name).remove()
        for name, record in chosen.items():
            group = groups.get(name, name)
            if name not in self._runs:
                self._runs[name] = _Run(self.directory, name, self._samples_axis, group)
            self._runs[name].follow(record, self._replicates.get(group))
        self.columns = hparams_columns(records, folded=bool(self._averaged()))

    def _shown(self, name: str, record: Record, groups: Mapping[str, str]) -> str:
        """The name of a run, which changes with its row: TensorBoard keeps the row that it has read for a name."""
        is_left_out = self._mean_over_seeds and record.status == "done" and name not in groups
        return f"{name} (not counted)" if is_left_out else name

    def _group(self, records: Sequence[Record], names: Sequence[Name]) -> tuple[dict[str, str], dict[str, Replicates]]:
        """Group the runs that count among the replicates of their configuration; the others are rows of their own.

        Returns:
            The configuration of each of these runs, by name, and the replicates of each configuration.
        """
        if not self._mean_over_seeds:
            return {}, {}
        found: dict[str, dict[str, Record]] = {}
        for name, record in zip(names, records, strict=True):
            found.setdefault(name.configuration, {})[name.run] = record
        groups: dict[str, str] = {}
        by_configuration: dict[str, Replicates] = {}
        for configuration, runs in found.items():
            by_configuration[configuration] = replicates = as_replicates(list(runs.values()))
            used = set(map(id, replicates.used))
            groups |= {name: configuration for name, record in runs.items() if id(record) in used}
        return groups, by_configuration

    def _averaged(self) -> dict[str, Replicates]:
        """The replicates of each configuration that has a run of means, by the name of that run."""
        several = {name: found for name, found in self._replicates.items() if len(found.used) > 1}
        return {f"{name} mean of {len(found.used)}": found for name, found in several.items()}

    def update_means(self, seconds: float = math.inf) -> None:
        """Write a run of mean curves for each configuration with replicates, which requires reading all their event files.

        Args:
            seconds: after this time no further one is written; the next call continues.
        """
        until = time.monotonic() + seconds
        wanted = self._averaged()
        for name, mean in list(self._means.items()):
            if name not in wanted or mean.of != _directories(wanted[name]):
                del self._means[name]
                shutil.rmtree(self.directory / name)
        for name in wanted.keys() - self._means:
            if time.monotonic() > until:
                break
            curves = bands_of([self._curves(record) for record in wanted[name].used])
            write_mean(self.directory / name, curves)
            self._means[name] = _Mean(_directories(wanted[name]), with_band(curves))
        tags = dict.fromkeys(tag for mean in self._means.values() for tag in mean.tags)
        self.charts = margin_charts(tags) if tags else None

    def _curves(self, record: Record) -> dict[str, list[Point]]:
        found = curves(record.directory)
        if not self._samples_axis:
            return found
        samples = samples_at([(point.step, point.value) for point in found.get("samples", [])], _batch_size(record))
        return {tag: [point._replace(step=samples(point.step)) for point in found[tag]] for tag in found}


class _Mean(NamedTuple):
    """A run of means: the directories of the averaged runs, and the tags with a band."""

    of: list[Path]
    tags: list[str]


def _directories(replicates: Replicates) -> list[Path]:
    return [record.directory for record in replicates.used]


def _batch_size(record: Record) -> int:
    """The configured batch size; 0 for an imported run, and for data without this setting."""
    return 0 if record.is_imported else int(default_of(record.values["config"]["data"], "data", "batch_size") or 0)


class _Run:
    """The folder of a run in the view."""

    def __init__(self, root: Path, name: str, samples_axis: bool, group: str) -> None:
        self.root, self.folder = root, root / name
        self.group, self.samples_axis = group, samples_axis
        self._samples: list[tuple[int, float]] = []
        self._copies: dict[Path, Copy] = {}
        self._own: set[str] = set()
        self._spread: dict[str, float] = {}
        self.folder.mkdir(parents=True)

    def follow(self, record: Record, replicates: Replicates | None) -> None:
        """Link new files, remove deleted ones, and update the modified copies and the spread of the replicates."""
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
                _link_or_copy(source, self.folder / path)
        for copy in self._copies.values():
            copy.advance()
        self._write_session(record, {path.name for path in wanted})
        if replicates and (self._spread or len(replicates.used) > 1):
            self._write_spread(spread(replicates))

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
        if path.name.endswith(START_SUFFIX):
            return as_session(record, self.group)
        if self.samples_axis and not path.name.endswith(END_SUFFIX):
            return by_samples(samples_at(self._samples, _batch_size(record)))
        return None

    def _write_session(self, record: Record, names: set[str]) -> None:
        """Write the start and the end of a session if the run could not write them."""
        self._write_if_missing(START_SUFFIX, names, [session_start(record, self.group)])
        if record.status != "running":
            self._write_if_missing(END_SUFFIX, names, session_end(summary(record)))

    def _write_if_missing(self, suffix: str, names: set[str], summaries: Sequence[Summary]) -> None:
        mine = {name for name in self._own if name.endswith(suffix)}
        theirs = any(name.endswith(suffix) for name in names)
        if theirs and mine:  # the run has written them since
            for name in mine:
                (self.folder / name).unlink()
            self._own -= mine
        elif not theirs and not mine:
            self._write(suffix, *summaries)

    def _write_spread(self, now: dict[str, float]) -> None:
        """Write the spread of the replicates if it has changed; NaN replaces values that there are no longer."""
        now = dict.fromkeys(self._spread, math.nan) | now
        if now != self._spread:
            self._spread = now
            self._write(".spread", Summary(value=[Summary.Value(tag=tag, simple_value=now[tag]) for tag in now]))

    def _write(self, suffix: str, *summaries: Summary) -> None:
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


def _link_or_copy(source: Path, target: Path) -> None:
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
