"""``rename``: change the name of a run, or remove it. The id and the directory stay."""

import argparse

from src.records.find import check_name, find
from src.runs.edit import check_word, edit, print_edited


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    if args.name:
        check_word("a name", args.name)
        check_name(args.name)
    print_edited(args.form, edit([find(args.run)], "name", lambda _: {"name": args.name or None}))
