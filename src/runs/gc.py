"""``gc``: list what can be deleted, and delete it."""

import argparse
import sys
from collections.abc import Sequence

from rich import filesize
from rich.console import Console

from src.errors import UserError
from src.records import trash
from src.runs.output import print_rows
from src.runs.reading import read_runs
from src.views import listing


def run(args: argparse.Namespace) -> int:
    """Run the command; the exit status is 1 if something could not be deleted."""
    records = read_runs()
    chosen = listing.choose(records, args.filter) if args.filter else []
    items, reasons = trash.garbage(chosen, records)
    for reason in reasons:
        print(reason, file=sys.stderr)
    kept = _free(items) if args.yes else []
    items = [item for item in items if item not in kept]
    rows = [{"what": item.what, "path": str(item.path), "bytes": item.size, "freed": args.yes} for item in items]

    def say(console: Console) -> None:
        for item in items:
            console.print(f"{filesize.decimal(item.size):>10}  {item.what}", markup=False, soft_wrap=True)
        total = filesize.decimal(sum(item.size for item in items))
        total += f" in {len(items)} {'entry' if len(items) == 1 else 'entries'}"
        if not items and not kept:
            console.print("there is nothing to free.")
        else:
            console.print(f"{total} freed" if args.yes else f"{total} would be freed for good: --yes does it")

    print_rows(args.form, rows, say)
    return int(bool(kept))


def _free(items: Sequence[trash.Item]) -> list[trash.Item]:
    """Delete items permanently; returns those that could not be deleted, after printing a message for each."""
    kept = []
    for item in items:
        try:
            trash.free(item)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            kept.append(item)
    return kept
