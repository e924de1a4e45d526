"""``diff``: what differs between runs."""

import argparse

from src.errors import ConfigError, RunNotFound
from src.records.find import read_latest, short_ids
from src.records.sweep import find_several
from src.runs.output import print_rows
from src.views import showing


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    latest = read_latest(2)
    records = find_several(args.runs) if args.runs else latest.records
    if len(records) < 2 and args.runs:
        raise ConfigError(f"diff compares two runs or more, and {' '.join(args.runs)} is one.")
    if len(records) < 2:
        raise RunNotFound(f"diff compares two runs, and there are {len(records)}.")
    found = showing.differences(records)
    rows = showing.difference_rows(found)
    short = short_ids(found["runs"], latest.ids, [])
    print_rows(args.form, rows, lambda console: showing.print_differences(found, console, short), plain=found)
