"""Predict the classes of image files with a run's model.

The images may be of any size and colour, dark on light or light on dark; docs/predict.md describes the preprocessing. An
image that cannot be read is reported and skipped; the exit status is then 1.

    # The latest finished run, its best weights
    python -m src.predict latest three.png photo.jpg
    # Every image in a folder, with the last weights
    python -m src.predict RUN scans/ checkpoint=last
    # An image from standard input
    python -m src.predict RUN - < three.png
    # Names of files from standard input, one per line
    find scans -name '*.png' | python -m src.predict RUN -
    # The probabilities of all classes, as JSON
    python -m src.predict RUN scans/ --json
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from src.command import CHECKPOINT, add_format, add_run, exit_with, help_of, settings_in, status_of
from src.errors import ConfigError
from src.parsers import make_parser
from src.records.find import find_to_rebuild


def main(argv: list[str] | None = None) -> int:
    """Run a command line and return its exit status: 0 for success, 1 for an error or a skipped image, 2 for a usage error."""
    args = build_parser().parse_intermixed_args(argv)
    return status_of(lambda: _run(args))


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = make_parser("src.predict", __doc__)
    add_run(parser)
    text = f"Image files, folders, or - for standard input. {help_of(CHECKPOINT)}"
    parser.add_argument("words", nargs="*", default=[], metavar="IMAGE|KEY=VALUE", help=text)
    add_format(parser)
    return parser


def _run(args: argparse.Namespace) -> int:
    places, settings = _sorted_out(args.words)
    if not places:
        raise ConfigError(f"there is no picture to look at: name files or folders after {args.run}, or - for stdin.")
    record = find_to_rebuild(args.run)
    from rich.console import Console
    from rich.progress import Progress

    from src.analysis import predictions

    errors, skipped = Console(stderr=True), []

    def skip(message: str) -> None:
        skipped.append(message)
        errors.print(f"error: {message}", markup=False, highlight=False, soft_wrap=True)

    sources = list(predictions.sources(places, skip))
    # A progress bar would interfere with results that are printed to the same terminal.
    hidden = not errors.is_terminal or (args.form is not None and sys.stdout.isatty())
    with Progress(console=errors, transient=True, disable=hidden, redirect_stdout=False, redirect_stderr=False) as bar:
        found = predictions.predict(record, bar.track(sources, description="pictures"), skip, **settings)
        if args.form is not None:
            {"json": predictions.write_json, "csv": predictions.write_csv}[args.form](found, sys.stdout)
        else:
            table = predictions.as_table(found)
    if args.form is None and table.row_count:
        Console(highlight=False).print(table)
    return 1 if skipped else 0


def _sorted_out(words: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Split arguments into images and settings: ``key=value``, unless a file or folder of that name exists."""
    settings = [word for word in words if word.partition("=")[0].isidentifier() and "=" in word]
    settings = [word for word in settings if word.partition("=")[0] in CHECKPOINT or not os.path.exists(word)]
    return [word for word in words if word not in settings], settings_in(settings, CHECKPOINT)


if __name__ == "__main__":
    exit_with(main())
