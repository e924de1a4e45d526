"""``ls``: the table of runs, one row per run or per configuration, or the leaderboard of a sweep."""

import argparse
import sys
from collections.abc import Collection, Sequence

from src.errors import ConfigError
from src.records.baseline import Baseline, pinned_id
from src.records.find import read_latest
from src.records.record import Record
from src.records.replicates import check_folded, group
from src.records.sweep import find_sweep
from src.runs.output import print_rows, warn
from src.runs.reading import read_baseline, read_runs
from src.runs.tables import print_leaderboard, print_runs
from src.views import folded, listing
from src.views.table import print_table


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    if args.sweep and not (args.filter or args.sort or args.reverse or args.columns or args.fold):
        print_leaderboard(args.form, find_sweep(args.sweep))
        return
    asked = listing.asked_for(args.sort, args.filter, args.columns)
    if args.sweep or args.filter or args.sort or args.reverse or args.fold or pinned_id():
        runs = read_runs()
        jobs, baseline = find_sweep(args.sweep).records() if args.sweep else runs, read_baseline(runs)
        every = [record.values["id"] for record in runs]
        matching = listing.choose(jobs, args.filter)
        if args.fold and matching:
            _print_groups(args, matching, every, baseline)
            return
        chosen = listing.order(matching, args.sort, reverse=args.reverse)
        count = len(chosen)
    else:
        latest = read_latest(args.n)
        warn(latest.damaged)
        every, chosen, count = latest.ids, listing.order(latest.records, None), len(latest.ids)
        baseline = None
    if not chosen and not args.form:
        print("no run matches that." if every else "there is no run yet; python -m src.train makes one.")
        return
    print_runs(args.form, chosen[: args.n], asked, every, baseline)
    _print_rest(args, count)


def _print_groups(
    args: argparse.Namespace, records: Sequence[Record], every: Collection[str], baseline: Baseline | None
) -> None:
    if args.columns:
        raise ConfigError("--columns does not go with --fold: leave one of them out.")
    check_folded(args.fold, records)
    groups = folded.order_groups(group(records, args.fold), args.sort)
    found = groups[::-1][: args.n] if args.reverse else groups[: args.n]
    rows = folded.as_rows(found, args.fold, baseline)
    ids = ([record.values["id"] for record in one.used] for one in found)
    plain = [{**row, "runs": used} for row, used in zip(rows, ids, strict=True)]
    table = folded.table(found, args.fold, every, baseline)
    print_rows(args.form, rows, lambda console: print_table(console, table), plain)
    _print_rest(args, len(groups))


def _print_rest(args: argparse.Namespace, count: int) -> None:
    if count > args.n and not args.form:
        print(f"and {count - args.n} more: -n {count} shows them", file=sys.stderr)
