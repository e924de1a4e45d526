"""``restore``: move a run from the trash back to its directory."""

import argparse

from src.paths import shown
from src.records import trash
from src.runs.output import print_text


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    directory = trash.restore(args.run)
    print_text(args.form, [{"directory": str(directory)}], f"{shown(directory)} is back")
