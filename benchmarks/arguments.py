"""Command-line arguments that several benchmarks have."""

import argparse


def add_rounds(parser: argparse.ArgumentParser, default: int) -> None:
    """Add the option --rounds."""
    parser.add_argument(
        "--rounds", type=int, default=default, metavar="N", help=f"Measure N rounds (default: {default})."
    )


def add_epochs(parser: argparse.ArgumentParser, default: int) -> None:
    """Add the option --epochs."""
    text = f"Measure N epochs per round, after one warm-up epoch (default: {default})."
    parser.add_argument("--epochs", type=int, default=default, metavar="N", help=text)


def add_threads(parser: argparse.ArgumentParser, default: int) -> None:
    """Add the option --threads."""
    text = "Use N threads (default: torch's default)."
    parser.add_argument("--threads", type=int, default=default, metavar="N", help=text)


def add_json(parser: argparse.ArgumentParser, what: str) -> None:
    """Add the option --json.

    Args:
        parser: the parser of the benchmark.
        what: the values that are printed.
    """
    parser.add_argument("--json", action="store_true", help=f"Print {what} as JSON instead of the table.")
