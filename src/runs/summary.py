"""``summary``: what runs have shown, for scripts and agents."""

import argparse

from src.records.filters import Filter
from src.records.find import read_all
from src.records.findings import findings
from src.records.sweep import find_sweep
from src.runs.output import print_rows, warn
from src.views.findings import as_rows, print_findings
from src.views.leaderboard import make_leaderboard


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    sweep = find_sweep(args.sweep) if args.sweep else None
    records, damaged = (sweep.records(), []) if sweep else read_all()
    if args.filter:
        records = Filter(args.filter).choose(records)
    found = {**findings(records, args.k), "unreadable": damaged}
    if sweep and sweep.objectives and not args.filter:
        board = make_leaderboard(sweep)
        found["front"] = {
            "objectives": board.objectives,
            "runs": [{"ids": row.jobs, "means": board.means(row), "command": row.command} for row in board.front],
        }
    warn(damaged)
    print_rows(args.form, as_rows(found), lambda console: print_findings(found, console), plain=found)
