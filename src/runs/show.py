"""``show``: a run, or the leaderboard of a sweep."""

import argparse
import json

from rich.console import Console

from src.records.sweep import Sweep, find_run_or_sweep
from src.runs.output import print_text
from src.runs.tables import print_leaderboard
from src.views import showing


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    record = find_run_or_sweep(args.run)
    if isinstance(record, Sweep):
        print_leaderboard(args.form, record)
    elif args.form == "json":
        print(json.dumps(showing.as_plain(record), indent=2))
    elif args.form:
        print_text("csv", [{"name": name, "value": value} for name, value in showing.as_rows(record)], "")
    else:
        showing.show(record, Console(highlight=False))
