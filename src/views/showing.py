"""Details of a run, and differences between two runs: ``show`` and ``diff``."""

import difflib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import filesize
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from src.formatting import duration
from src.masking import mask
from src.paths import shown
from src.records.find import labels
from src.records.git import PATCH
from src.records.record import Record
from src.records.settings import as_word, settings_of
from src.records.summary import environment_of, plain_record, summary
from src.views.scalars import Point, curves, plot
from src.views.table import GAP, STATUS_STYLE, Column, print_table


def show(record: Record, console: Console) -> None:
    """Print a run: summary, settings, metrics, curves, files and environment."""
    run = summary(record)
    _print_section(
        console,
        run.id,
        {
            "name": run.name,
            "tags": " ".join(run.tags),
            "note": run.note,
            "status": Text(run.ended, style=STATUS_STYLE[run.status]),
            "error": run.error,
            "warnings": "\n".join(run.warnings),
            "started": f"{run.started}, {duration(run.age)} ago",
            "took": duration(run.duration),
            "threads": run.threads,
            "resumed": ", ".join(one["at"] for one in record.values.get("resumed", [])),
            "loggers": ", ".join(f"{name} {id}" for name, id in record.values.get("loggers", {}).items()),
            "command": run.command,
            "sweep": run.sweep,
            "code": run.code,
            "imported": origin(record),
            "directory": shown(record.directory),
        },
    )
    metrics = {name: "NaN or Inf" if value is None else f"{value:.6g}" for name, value in run.metrics.items()}
    _print_section(console, "metrics", metrics | run.best_line)
    lines = plotted(curves(record.directory), console.width, ascii_only=console.options.ascii_only)
    _print_section(console, "curves", lines)
    _print_section(console, "settings", {name: as_word(value) for name, value in settings_of(record).items()})
    _print_section(console, "environment", environment_of(record))
    files = {
        str(path.relative_to(record.directory)): filesize.decimal(path.stat().st_size)
        for path in _files(record.directory)
    }
    _print_section(console, "files", files)


def origin(record: Record) -> str | None:
    """Where an imported run comes from; None for a run of this project."""
    if not record.is_imported:
        return None
    return "from {kind}, run {id} of {experiment} in {from}".format(**record.values["imported"])


def as_plain(record: Record) -> dict[str, Any]:
    """The record with the run's files and the last value of each curve, for JSON output."""
    last = {tag: points[-1].value for tag, points in curves(record.directory).items() if points}
    finite = {tag: value if math.isfinite(value) else None for tag, value in last.items()}
    files = [str(path.relative_to(record.directory)) for path in _files(record.directory)]
    return {**plain_record(record), "files": files, "curves": finite}


def as_rows(record: Record) -> list[tuple[str, Any]]:
    """Dotted name and value of every entry of the record."""
    rows: list[tuple[str, Any]] = []

    def add(name: str, value: Any) -> None:
        if isinstance(value, Mapping) and value:
            for key, one in value.items():
                add(f"{name}.{key}" if name else key, one)
        else:
            rows.append((name, json.dumps(value) if isinstance(value, list | Mapping) else value))

    add("", plain_record(record))
    return rows


def _files(directory: Path) -> list[Path]:
    """A run's files, except locks."""
    return sorted(
        path for path in directory.rglob("*") if path.is_file() and path.suffix != ".lock" and path.name != ".lock"
    )


def _print_section(console: Console, title: str, entries: Mapping[str, Any]) -> None:
    if found := section(title, entries):
        console.print(found)


def section(title: str, entries: Mapping[str, Any]) -> Group | None:
    """A title and a line for each entry that is not empty; None if all are empty."""
    shown_entries = {name: value for name, value in entries.items() if value not in (None, "")}
    if not shown_entries:
        return None
    table = Table.grid(padding=(0, 2, 0, 0))
    for name, value in shown_entries.items():
        table.add_row(Text(f"  {name}"), value if isinstance(value, Text) else Text(str(value)))
    return Group(Text(title, style="bold"), table)


def plotted(found: Mapping[str, Sequence[Point]], width: int, *, ascii_only: bool) -> dict[str, str]:
    """Curves as text, with their first and last values, by tag; those with fewer than two finite values are omitted.

    Args:
        found: the result of ``curves``.
        width: width of the terminal, in characters.
        ascii_only: whether the terminal displays only ASCII characters.
    """
    entries = {}
    for tag, points in found.items():
        values = [point.value for point in points if math.isfinite(point.value)]
        if len(values) > 1:
            line = plot(values, max(10, min(60, width - 50)), ascii_only)
            entries[tag] = f"{line}  {values[0]:.4g} to {values[-1]:.4g}"
    return entries


def differences(records: Sequence[Record]) -> dict[str, Any]:
    """Differences between runs: ``settings``, ``metrics``, ``environment`` (name to the value in each run) and ``code``.

    The code of two runs is compared line by line (``patch``), that of more only by commit and whether there were changes.
    """
    names = labels(records)
    code: dict[str, Any] = _apart([_code(record) for record in records])
    if len(records) == 2:
        before, after = map(_patch, records)
        code["patch"] = list(difflib.unified_diff(before, after, names[0], names[1], lineterm=""))
    return {
        "runs": names,
        "settings": _apart([settings_of(record) for record in records]),
        "metrics": _apart([summary(record).metrics for record in records]),
        "environment": _apart([environment_of(record) for record in records]),
        "code": code,
    }


def _apart(found: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for one in found for name in one)
    values = {name: [one.get(name) for one in found] for name in names}
    return {name: row for name, row in values.items() if any(value != row[0] for value in row)}


def _code(record: Record) -> dict[str, Any]:
    git = record.values["git"] or {}
    return {"commit": git.get("commit"), "changes": git.get("dirty")}


def _patch(record: Record) -> list[str]:
    path = record.directory / PATCH
    return mask(path.read_text(errors="replace")).splitlines() if path.exists() else []


def print_differences(found: Mapping[str, Any], console: Console, short: Sequence[str]) -> None:
    """Print the result of ``differences``: on a terminal with as many runs next to each other as fit.

    Args:
        found: the result.
        console: the console to print to.
        short: short ids of the runs, for headings if the full ones do not fit.
    """
    rows = difference_rows(found)
    if not rows:
        console.print("no difference in settings, metrics, environment or commit")
    names = [row["name"] for row in rows]
    values = [
        [_cell(value) for value in column] for column in zip(*(list(row.values())[2:] for row in rows), strict=True)
    ]
    if rows and len(values) == 2:
        changes = Column("", [_change(*list(row.values())[2:]) for row in rows], 90)
        forms = [[Column("", names), *map(_run_column, ids, values), changes] for ids in (found["runs"], short)]
        print_table(console, forms)
    elif rows:
        name = Column("", names)
        columns = [*map(_run_column, found["runs"], values)]
        if console.is_terminal and _width([name, *columns]) > console.width:
            columns = [*map(_run_column, short, values)]
        for block in _blocks(name, columns, console.width) if console.is_terminal else [columns]:
            print_table(console, [[name, *block]])
    if found["code"].get("patch"):
        console.print("the uncommitted changes of the code:")
        for line in found["code"]["patch"]:
            console.print(f"  {line}", markup=False, soft_wrap=True)


def _run_column(id: str, cells: Sequence[str]) -> Column:
    return Column(id, cells, least=12, enough=40)


def _width(columns: Sequence[Column]) -> int:
    return sum(column.comfortable for column in columns) + GAP * (len(columns) - 1)


def _blocks(name: Column, columns: Sequence[Column], width: int) -> list[list[Column]]:
    """Split columns into blocks that fit next to the first column."""
    blocks: list[list[Column]] = [[]]
    for column in columns:
        if blocks[-1] and _width([name, *blocks[-1], column]) > width:
            blocks.append([])
        blocks[-1].append(column)
    return blocks


def _change(one: Any, other: Any) -> str:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other))
    return f"{other - one:+.4g}" if numbers else ""


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else as_word(value)


def difference_rows(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The result of ``differences`` with a row for each value, without the patch."""
    return [
        {"part": part, "name": name, **dict(zip(found["runs"], values, strict=True))}
        for part in ("settings", "metrics", "environment", "code")
        for name, values in found[part].items()
        if name != "patch"
    ]
