"""What the live view of runs displays: a table of running and recent runs, and one of them in detail. Only reads files."""

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from src.formatting import duration, figure
from src.launching.logs import LOG_NAME
from src.masking import mask
from src.records.find import short_ids
from src.records.live import LiveRuns
from src.records.record import Record
from src.records.settings import shown_names
from src.records.summary import Summary, metric_names, summary
from src.records.sweep import Sweep
from src.views.listing import details, setting_cells
from src.views.scalars import Point, curves
from src.views.showing import plotted, section
from src.views.table import STATUS_STYLE, Column, cut, fit, forms_of

# Orders of the table, and statuses of the runs in it; the keys s and f select the next one.
ORDERS = ("latest", "best", "status", "time left")
FILTERS: Mapping[str, Sequence[str]] = {
    "all": ("running", "done", "pruned", "failed", "interrupted"),
    "running": ("running",),
    "failed": ("failed", "interrupted"),
}
_STATUSES = ("running", "failed", "interrupted", "done", "pruned")
# Seconds of reading after which a table is displayed, though records are still to be read.
_READING_S = 0.25
_LOG_LINES, _LOG_BYTES = 15, 16_384


@dataclass(frozen=True)
class View:
    """What is to be displayed.

    Attributes:
        order: one of ``ORDERS``.
        filter: one of ``FILTERS``.
        width: width of the terminal, in characters.
        inspected: directory of the run to display in detail; None for the table.
    """

    order: str = ORDERS[0]
    filter: str = "all"
    width: int = 80
    inspected: str | None = None


@dataclass(frozen=True)
class Frame:
    """The content of the terminal at one time.

    Attributes:
        heading: counts of the runs.
        state: order, filter, and what could not be read.
        columns: heading and width of each column.
        rows: directory and cells of each run.
        details: the inspected run; None for the table.
        pending: whether there are records still to be read.
    """

    heading: str
    state: str
    columns: Sequence[tuple[str, int]]
    rows: Sequence[tuple[str, Sequence[Text]]]
    details: RenderableType | None
    pending: bool


class Monitor:
    """Makes frames from the current records. Must be used by one thread at a time.

    Args:
        sweep: the sweep whose jobs are displayed; by default all runs.
        limit: maximum number of runs in the table; running ones come first.
        ascii_only: whether the terminal displays only ASCII characters.
    """

    def __init__(self, sweep: Sweep | None = None, limit: int = 200, *, ascii_only: bool = False) -> None:
        self._runs = LiveRuns(sweep.directory if sweep else None)
        self._sweep, self._limit, self._ascii = sweep, limit, ascii_only
        self._curves = _Curves()
        # Results with what they were computed from.
        self._short: tuple[Any, list[str]] = (None, [])
        self._settings: tuple[Any, dict[str, list[str]]] = (None, {})

    def frame(self, view: View) -> Frame:
        """Read what has changed and make the next frame."""
        self._runs.refresh(_READING_S)
        runs = self._runs.summaries
        chosen = {one: run for one, run in runs.items() if run.status in FILTERS[view.filter]}
        listed = dict(sorted(chosen.items(), key=_key(view.order, self._sweep is not None))[: self._limit])
        self._runs.keep({*listed, *([view.inspected] if view.inspected else [])})
        records = {one: record for one in listed if (record := self._runs.record(one))}
        if view.inspected:
            content = self._details(view.inspected, records, view.width)
            return Frame(self._heading(), "", [], [], content, self._runs.pending > 0)
        columns, rows = self._table(records, {one: listed[one] for one in records}, view.width)
        state = self._state(view, len(listed), len(chosen))
        return Frame(self._heading(), state, columns, rows, None, self._runs.pending > 0)

    def _heading(self) -> str:
        counts = Counter(run.status for run in self._runs.summaries.values())
        parts = [f"{counts[status]:,} {status}" for status in _STATUSES if counts[status]]
        if self._sweep is None:
            return ", ".join(parts) or "no runs yet: python -m src.train makes one"
        finished = counts["done"] + counts["pruned"]
        if self._sweep.values["trials"] is None:
            return f"sweep {self._sweep.values['id']}: {finished:,} jobs finished ({', '.join(parts)})"
        total = self._sweep.values["trials"] - len(self._sweep.skipped)
        if (left := total - counts.total()) > 0:
            parts.append(f"{left:,} not started")
        return f"sweep {self._sweep.values['id']}: {finished:,} of {total:,} jobs finished ({', '.join(parts)})"

    def _state(self, view: View, listed: int, chosen: int) -> str:
        parts = [f"order: {view.order}", f"filter: {view.filter}"]
        if listed < chosen:
            parts.append(f"{listed:,} of {chosen:,} runs")
        if self._runs.pending:
            parts.append(f"{self._runs.pending:,} records to read")
        if damaged := self._runs.damaged:
            parts.append(f"{len(damaged)} unreadable: {next(iter(damaged.values()))}")
        return ", ".join(parts)

    def _table(
        self, records: Mapping[str, Record], runs: Mapping[str, Summary], width: int
    ) -> tuple[list[tuple[str, int]], list[tuple[str, list[Text]]]]:
        shown = list(runs.values())
        watched = {run.monitor or _first(run) for run in shown} - {None}
        metric = f"{watched.pop()}" if len(watched) == 1 else "last"
        best = f"best/{metric}" if metric != "last" else "best"
        columns = [
            self._name_column(runs),
            Column("name", [run.name or "" for run in shown], 10, least=12, enough=24),
            Column("status", [run.status for run in shown]),
            Column("details", [details(run) for run in shown], 5, least=22, enough=24),
            Column(metric, [figure(run.metrics.get(run.monitor or _first(run) or "")) for run in shown], 30),
            Column(best, [figure(run.best) for run in shown], 20),
            Column("age", [duration(run.age) for run in shown], 70),
            Column("took", [duration(run.duration) for run in shown], 90),
        ]
        fitted = fit(forms_of(columns, self._setting_cells(records)), width)
        ellipsis = "..." if self._ascii else "…"
        cells = [
            [Text(cut(cell, size, ellipsis), _style(column, cell), no_wrap=True) for cell in column.cells]
            for column, size in fitted
        ]
        headings = [(cut(column.heading, size, ellipsis), size) for column, size in fitted]
        return headings, list(zip(runs, map(list, zip(*cells, strict=True)), strict=True)) if runs else []

    def _name_column(self, runs: Mapping[str, Summary]) -> Column:
        if self._sweep:
            return Column("job", [Path(directory).name for directory in runs])
        ids = [run.id for run in runs.values()]
        every = {run.id for run in self._runs.summaries.values()}
        key = (ids, len(every))
        if self._short[0] != key:
            names = {run.name for run in self._runs.summaries.values() if run.name}
            self._short = key, short_ids(ids, every, names)
        return Column("id", self._short[1])

    def _setting_cells(self, records: Mapping[str, Record]) -> dict[str, list[str]]:
        """The settings that differ; computed again only for other runs, or if one was resumed with other settings."""
        key = [(directory, len(record.values.get("resumed", []))) for directory, record in records.items()]
        if self._settings[0] != key:
            found = list(records.values())
            self._settings = key, setting_cells(found, shown_names(found)) if found else {}
        return self._settings[1]

    def _details(self, directory: str, records: Mapping[str, Record], width: int) -> RenderableType:
        record = self._runs.record(directory)
        if record is None:
            return Text("this run was removed, or its record cannot be read")
        run = summary(record)
        others = {**records, directory: record}
        cells = self._setting_cells(others)
        position = list(others).index(directory)
        found = self._curves.of(record.directory)
        tags = [*(name for name in run.metrics if name in found), *(tag for tag in found if tag not in run.metrics)]
        parts = [
            section(
                run.id,
                {
                    "name": run.name,
                    "tags": " ".join(run.tags),
                    "note": run.note,
                    "status": Text(run.ended, STATUS_STYLE[run.status]),
                    "progress": "" if run.status == "failed" else details(run),
                    "error": run.error,
                    "warnings": "\n".join(run.warnings),
                    "started": f"{duration(run.age)} ago",
                    "took": duration(run.duration),
                },
            ),
            section("settings that differ", {name: values[position] for name, values in cells.items()}),
            section("metrics", {name: figure(run.metrics[name]) or "NaN or Inf" for name in metric_names([run])}),
            section("curves", plotted({tag: found[tag] for tag in tags}, width, ascii_only=self._ascii)),
            section("log", {"": "\n".join(_log_lines(record.directory))}),
        ]
        return Group(*(part for part in parts if part))


class _Curves:
    """The curves of one run, read again if its event files have grown, in at most a tenth of the time."""

    def __init__(self) -> None:
        self._read: tuple[Path, list[tuple[str, int]]] | None = None
        self._found: Mapping[str, Sequence[Point]] = {}
        self._next = 0.0

    def of(self, directory: Path) -> Mapping[str, Sequence[Point]]:
        is_same = self._read is not None and self._read[0] == directory
        if is_same and time.monotonic() < self._next:
            return self._found
        state = directory, _sizes(directory)
        if state != self._read:
            began = time.monotonic()
            self._found, self._read = curves(directory), state
            self._next = time.monotonic() + 10 * (time.monotonic() - began)
        return self._found


def _sizes(directory: Path) -> list[tuple[str, int]]:
    """Name and size of each event file."""
    try:
        return [(one.name, one.stat().st_size) for one in os.scandir(directory) if ".tfevents." in one.name]
    except OSError:  # the run was removed
        return []


def _log_lines(directory: Path) -> list[str]:
    """The last lines of a run's log."""
    try:
        with (directory / LOG_NAME).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_BYTES))
            lines = mask(file.read().decode(errors="replace")).splitlines()
    except OSError:  # no log yet, or the run was removed
        return []
    return ["".join(char if char.isprintable() else " " for char in line) for line in lines[-_LOG_LINES:]]


def _first(run: Summary) -> str | None:
    """The metric to display of a run that monitors none."""
    return next(iter(metric_names([run])), None)


def _style(column: Column, cell: str) -> str:
    return STATUS_STYLE.get(cell, "") if column.heading == "status" else ""


def _key(order: str, by_number: bool) -> Callable[[tuple[str, Summary]], Any]:
    """Sort key of directory and summary. Running runs are first in the order ``latest``, and jobs are in that of their numbers."""

    def latest(item: tuple[str, Summary]) -> Any:
        directory, run = item
        return (
            int(Path(directory).name)
            if by_number
            else (run.status != "running", -datetime.fromisoformat(run.started).timestamp())
        )

    keys: dict[str, Callable[[tuple[str, Summary]], Any]] = {
        "latest": latest,
        "best": lambda item: (item[1].monitor or "", item[1].rank, latest(item)),
        "status": lambda item: (_STATUSES.index(item[1].status), latest(item)),
        "time left": lambda item: (item[1].remaining is None, item[1].remaining or 0.0, latest(item)),
    }
    return keys[order]
