"""``note``: write a note about runs, or remove it."""

import argparse

from src.errors import ConfigError
from src.records.sweep import find_several, once
from src.runs.edit import edit, print_edited


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    # Python decodes arguments that are not UTF-8 to surrogates, which neither files nor events can encode.
    text = " ".join(args.text).encode(errors="surrogateescape").decode(errors="replace").strip()
    if len(text) > 10_000:
        raise ConfigError(f"a note has at most 10,000 characters, not {len(text):,}.")
    print_edited(args.form, edit(once(find_several([args.run])), "note", lambda _: {"note": text or None}))
