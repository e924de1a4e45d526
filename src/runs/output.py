"""Output of the commands: rows as CSV or JSON, text for a terminal, warnings."""

import csv
import io
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console

Rows = Sequence[Mapping[str, Any]]


def print_rows(form: str | None, rows: Rows, say: Callable[[Console], None], plain: Any = None) -> None:
    """Print rows as CSV or JSON (``plain``, if given, instead of the rows), or call ``say`` to print to a terminal."""
    if form == "json":
        print(json.dumps(rows if plain is None else plain, indent=2))
    elif form == "csv":
        text = io.StringIO()
        names = list(dict.fromkeys(name for row in rows for name in row)) or ["id"]
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        print(text.getvalue(), end="")
    else:
        say(Console(highlight=False))


def print_text(form: str | None, rows: Rows, text: str) -> None:
    """Print rows as CSV or JSON, or a text to a terminal."""
    print_rows(form, rows, lambda console: console.print(text, markup=False, soft_wrap=True))


def warn(messages: Sequence[str]) -> None:
    """Print a warning for each message."""
    for message in messages:
        print(f"warning: {message}", file=sys.stderr)
