"""``baseline``: pin the run with which others are compared, show it or unpin it."""

import argparse
from collections.abc import Sequence
from typing import Any

from src.errors import UserError
from src.records.baseline import find_baseline, pin, pinned_id, removed_message, unpin
from src.records.find import all_runs
from src.records.record import Record
from src.records.sweep import find_run_or_sweep
from src.runs.output import print_text
from src.views.leaderboard import make_leaderboard


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    if args.run:
        _set_baseline(args.run)
    text, plain = _describe_baseline(all_runs())
    print_text(args.form, [plain] if plain else [], text)


def _set_baseline(word: str) -> None:
    """Pin a run, or the first run of the best configuration of a sweep; ``none`` unpins.

    Raises:
        RunNotFound: no run and no sweep matches.
        UserError: the run is not done, has no value to compare, or the sweep has no best configuration.
    """
    if word == "none":
        unpin()
        return
    found = find_run_or_sweep(word)
    if isinstance(found, Record):
        pin(found)
        return
    board = make_leaderboard(found)
    if board.winner is None:
        raise UserError(f"{found.values['id']} has no best configuration: name one of its jobs.")
    pin(next(job for job in found.records() if job.values["id"] == board.rows[0].jobs[0]))


def _describe_baseline(runs: Sequence[Record]) -> tuple[str, dict[str, Any]]:
    """The baseline as text, and as plain data: id, name, metric, n, mean and std, or nothing if there is none."""
    if pinned_id() is None:
        return "there is no baseline: python -m src.runs baseline RUN pins one.", {}
    found = find_baseline(runs)
    if found is None:
        return removed_message(runs) or f"the runs of {pinned_id()} have no value to compare any more.", {}
    values = found.record.values
    plain = {"id": values["id"], "name": values["name"], "metric": found.metric, **vars(found.value)}
    return f"{values['id']}: {found.metric} of {found.description}", plain
