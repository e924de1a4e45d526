"""Tables that several commands print: runs, and the leaderboard of a sweep."""

from collections.abc import Collection, Iterator, Sequence

from rich.console import Console

from src.errors import RunNotFound
from src.records.baseline import Baseline
from src.records.record import Record
from src.records.summary import plain_record
from src.records.sweep import Sweep
from src.runs.output import print_rows
from src.runs.reading import read_baseline
from src.views import listing
from src.views.leaderboard import make_leaderboard, print_front
from src.views.table import print_table

# Maximum number of jobs without a run that are listed below a leaderboard.
_MOST = 10


def print_runs(
    form: str | None,
    records: Sequence[Record],
    asked: listing.Asked,
    every: Collection[str],
    baseline: Baseline | None = None,
) -> None:
    """Print the table of runs; ``every`` holds the ids of all runs."""
    rows = listing.as_rows(records, asked, baseline) if form == "csv" or (form and asked.columns is not None) else []
    plain = [plain_record(record) for record in records] if asked.columns is None else None
    if plain is not None and baseline:
        plain = [{**one, "vs_baseline": baseline.difference(run)} for one, run in zip(plain, records, strict=True)]
    print_rows(form, rows, lambda console: print_table(console, listing.table(records, asked, every, baseline)), plain)


def print_leaderboard(form: str | None, sweep: Sweep) -> None:
    """Print the leaderboard of a sweep, the importance of its settings, its jobs without a run, and the best command.

    Raises:
        RunNotFound: no job has started.
    """
    if not sweep.records():
        raise RunNotFound(f"{sweep.values['id']} has no jobs yet.")
    board = make_leaderboard(sweep, read_baseline())
    rows = [dict(zip(board.headings, board.cells(row), strict=True)) for row in board.rows]

    def say(console: Console) -> None:
        print_table(console, board.as_table(), f"sweep {board.sweep}")
        for metric, importance in board.importances.items():
            console.print(f"importance for {metric}, {importance}", markup=False, soft_wrap=True)
        for text in _absent(sweep):
            console.print(text, markup=False, soft_wrap=True)
        print_front(board, console)
        if board.winner:
            console.print(f"the best again:\n  {board.winner}", markup=False, soft_wrap=True)

    print_rows(form, rows, say, {**board.as_plain(), "not_started": sweep.missing(), "skipped": sweep.skipped})


def _absent(sweep: Sweep) -> Iterator[str]:
    """A line for each job without a run in the sweep, up to a limit."""
    lines = [f"skipped: {job:03d}, as {run} has its settings" for job, run in sweep.skipped.items()]
    lines += [f"not started: {job}" for job in sweep.missing()]
    yield from lines[:_MOST]
    if len(lines) > _MOST:
        yield f"and {len(lines) - _MOST} more, which --json lists"
