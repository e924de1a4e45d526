"""List, compare, tag, remove, export, report, reproduce and import runs; ``--help`` describes the subcommands."""

import importlib

from src.command import exit_with, status_of
from src.runs.arguments import build_parser

# Commands whose name is a keyword of Python.
_MODULES = {"import": "importing"}


def main(argv: list[str] | None = None) -> int:
    """Run a command line and return its exit status: 0 for success, 1 for failed or not reproduced, 2 for a usage error."""
    args = build_parser().parse_args(argv)
    # The module of this command only: others load TensorBoard or Textual.
    module = f"src.runs.{_MODULES.get(args.command, args.command)}"
    return status_of(lambda: importlib.import_module(module).run(args))


if __name__ == "__main__":
    exit_with(main())
