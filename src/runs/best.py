"""``best``: the best finished run."""

import argparse

from src.records.settings import data_of
from src.records.summary import find_best
from src.runs.reading import read_runs
from src.runs.tables import print_runs
from src.views import listing


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    runs = read_runs()
    chosen = listing.choose(runs, args.filter)
    record = find_best(chosen, args.metric, among=f" that matches {args.filter!r}" if args.filter else "")
    asked = listing.asked_for(args.metric, args.filter, None)
    print_runs(args.form, [record], asked, [run.values["id"] for run in runs])
    if args.form:
        return
    print(f"  {record.values['command']}")
    others = {data_of(run) for run in chosen if run.is_finished} - {data_of(record)}
    if others:
        print(
            f"  the best on {data_of(record)}, the data of the latest finished run; runs on {', '.join(sorted(others))} are "
            'not compared with it: a filter, such as "data==mnist", chooses others'
        )
