"""``import``: runs of MLflow and TensorBoard as records."""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from src.errors import ConfigError, DataError, UserError
from src.importers.find import source_runs
from src.importers.source import SourceRun
from src.importers.store import entries_of, save
from src.paths import user_path
from src.records.metrics import mode_of
from src.runs.edit import check_tags
from src.runs.output import print_text

Row = Mapping[str, Any]


def run(args: argparse.Namespace) -> int:
    """Run the command; the exit status is 1 if a file or run was skipped."""
    check_tags(args.tag)
    rows, skipped = _import_runs(args)
    print_text(args.form, rows, _described(rows, skipped, dry=args.dry_run))
    return int(bool(skipped))


def _import_runs(args: argparse.Namespace) -> tuple[list[Row], int]:
    """Import the runs below the paths, and print a warning for each file or run that is skipped.

    Args:
        args: ``paths``, ``tag``, ``monitor``, ``mode``, ``dry_run``.

    Returns:
        A row for each run, and the number of skipped files and runs.

    Raises:
        ConfigError: the mode of the monitor is not known.
        UserError: a path does not exist, or there is no run below the paths.
    """
    if args.monitor is None and args.mode is not None:
        raise ConfigError(f"--mode {args.mode} belongs to a metric: add --monitor NAME.")
    if args.monitor is not None and args.mode is None and mode_of(args.monitor) is None:
        raise ConfigError(f"--monitor {args.monitor}: add --mode min or --mode max, which its name does not imply.")
    rows: list[Row] = []
    skipped, has_monitor = 0, args.monitor is None
    for run in _found(args.paths):
        try:
            if isinstance(run, DataError):
                raise run
            entries = entries_of(run, args.monitor, args.mode)
            outcome = save(run, entries, args.tag, dry=args.dry_run)
        except DataError as error:
            print(f"warning: {error} Skipped.", file=sys.stderr)
            skipped += 1
            continue
        has_monitor = has_monitor or args.monitor in run.curves
        names = ("id", "name", "status", "started")
        points = entries["imported"]["points"]
        rows.append({"outcome": outcome, **{name: entries[name] for name in names}, "kind": run.kind, "points": points})
    if not rows and not skipped:
        raise UserError(f"{', '.join(args.paths)}: no MLflow run and no TensorBoard event file is there.")
    if rows and not has_monitor:
        print(f"warning: no run has logged {args.monitor!r}, so that none has a best value.", file=sys.stderr)
    return rows, skipped


def _found(paths: list[str]) -> Iterator[SourceRun | DataError]:
    for path in paths:
        yield from source_runs(user_path(path))


def _described(rows: list[Row], skipped: int, *, dry: bool) -> str:
    """``3 imported, 2 already there``; with ``dry`` preceded by a line for each run."""
    counts = Counter(row["outcome"] for row in rows)
    imported, updated, there = (counts[name] for name in ("imported", "updated", "already there"))
    words = [f"{imported} would be imported" if dry else f"{imported} imported"]
    words += [f"{updated} would be updated" if dry else f"{updated} updated"] if updated else []
    words += [f"{there} already there"] + ([f"{skipped} skipped"] if skipped else [])
    lines = [f"{row['id']}  {row['name']}, {row['status']}, {row['points']:,} points" for row in rows] if dry else []
    return "\n".join([*lines, ", ".join(words)])
