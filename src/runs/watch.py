"""``watch``: a live view of runs, or of the jobs of a sweep, in the terminal."""

import argparse
import os
import sys

from src.errors import UserError
from src.records.sweep import Sweep, find_run_or_sweep


def run(args: argparse.Namespace) -> int:
    """Show the view until the user quits, and return the exit status.

    Raises:
        UserError: standard input or output is not a terminal that can be controlled.
    """
    found = find_run_or_sweep(args.run) if args.run else None
    streams = (sys.stdin, sys.stdout, sys.stderr)
    if not all(stream.isatty() for stream in streams) or os.environ.get("TERM") in (None, "", "dumb"):
        raise UserError("watch needs a terminal: python -m src.runs ls prints the runs, also to a file or a pipe.")
    # Importing Textual takes 0.4 s.
    from src.views.monitor import Monitor
    from src.views.watch import Watch

    is_ascii = not (sys.stdout.encoding or "").lower().startswith("utf")
    monitor = Monitor(found if isinstance(found, Sweep) else None, args.n, ascii_only=is_ascii)
    inspected = None if found is None or isinstance(found, Sweep) else str(found.directory)
    status = Watch(monitor, inspected).run(mouse=False)  # so that text can be selected as usual
    return 1 if status is None else status
