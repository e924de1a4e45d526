"""Summary of a sweep, printed when it ends."""

import contextlib
import statistics
from collections.abc import Iterator

from rich.console import Console

from src.errors import RunNotFound
from src.formatting import figure
from src.launching.logs import LOG_NAME
from src.paths import shown
from src.records.find import find
from src.records.record import Record
from src.records.summary import differing, summary
from src.records.sweep import Sweep
from src.views.leaderboard import make_leaderboard, print_front
from src.views.table import Column, forms_of, metric_columns, print_table


def _skipped(sweep: Sweep) -> Iterator[tuple[str, Record]]:
    """The numbers of skipped jobs, and the runs that have their settings, unless they have been removed since."""
    for job, run in sweep.skipped.items():
        with contextlib.suppress(RunNotFound):
            yield f"{job:03d}", find(run)


def print_overview(sweep: Sweep, console: Console | None = None) -> None:
    """Print a table of the jobs, including skipped ones, the errors of failed ones, those not run, the best one, and the next commands."""
    console = console or Console(highlight=False)
    records = sweep.records()
    jobs = sorted([*((record.directory.name, record) for record in records), *_skipped(sweep)], key=lambda job: job[0])
    found, runs = [record for _, record in jobs], [summary(record) for _, record in jobs]
    is_skipped = [record not in records for record in found]
    board = make_leaderboard(sweep)
    front = {job for row in board.front for job in row.jobs}
    columns = [
        Column("job", [job for job, _ in jobs]),
        Column(
            "status",
            [f"skipped: {run.id}" if skip else run.ended for skip, run in zip(is_skipped, runs, strict=True)],
            20,
        ),
        Column("front", ["yes" if run.id in front else "" for run in runs], 10),
        *metric_columns(runs, board.objectives),
        Column("seconds", ["" if run.duration is None else f"{run.duration:.1f}" for run in runs], 90),
    ]
    forms = forms_of(columns, differing(found, lambda record: record.typed))
    print_table(console, forms, f"sweep {sweep.values['id']}", aligned=True)
    for record, run in ((record, summary(record)) for record in records):
        if run.error:
            log = shown(record.directory / LOG_NAME)
            console.print(f"{run.id}: {run.error} (see {log})", markup=False, soft_wrap=True)
    for overrides in sweep.missing():
        console.print(f"not run: {overrides}", markup=False, soft_wrap=True)
    ways = [f"python -m src.runs ls --sweep {sweep.values['id']}"]
    print_front(board, console)
    if (len(records) > 1 or sweep.values["search"]) and board.winner:
        best = board.rows[0]
        among = f" (mean of {len(best.values)} jobs)" if len(best.values) > 1 else ""
        settings = "".join(f" {key}={value}" for key, value in best.settings.items())
        tested = f", {board.test_metric} {figure(statistics.fmean(best.test))}" if best.test else ""
        result = f"{figure(best.mean)}{tested}{among}{settings and ':' + settings}"
        console.print(f"best: {board.metric} {result}", markup=False, soft_wrap=True)
        ways.append(board.winner)
    if sweep.missing() or any(not record.is_finished and not record.would_fail_again for record in records):
        ways.append(f"python -m src.train -m resume={sweep.values['id']}")
    console.print("next:", *ways, sep="\n  ", soft_wrap=True, markup=False)
