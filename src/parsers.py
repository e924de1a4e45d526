"""Parsers of command lines: one layout of --help for all commands."""

import argparse
import re
import textwrap
from typing import Any

_WIDTH = 80  # of --help, in columns, on any terminal


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """The layout of --help, 80 columns wide."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=22, width=_WIDTH)

    def format_help(self) -> str:
        """The text, without spaces at the end of a line."""
        return re.sub(r" +\n", "\n", super().format_help())


def make_parser(module: str, doc: str | None) -> argparse.ArgumentParser:
    """The parser of ``python -m <module>``, to which the arguments are added.

    Args:
        module: qualified name of the module.
        doc: paragraphs that describe the command, the first in one sentence; then examples, as an indented block.
    """
    return _with_help(argparse.ArgumentParser(prog=f"python -m {module}", **_texts(doc or "")))


def add_command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, doc: str
) -> argparse.ArgumentParser:
    """Add the parser of a subcommand, whose ``command`` is its name; ``doc`` is as for ``make_parser``."""
    summary = doc.partition("\n\n")[0].replace("\n", " ").replace("``", "")
    parser = _with_help(commands.add_parser(name, help=summary, **_texts(doc)))
    parser.set_defaults(command=name)
    return parser


def _texts(doc: str) -> dict[str, Any]:
    """The parser's texts: paragraphs are wrapped, the indented block becomes the section of examples."""
    text, _, examples = doc.partition("\n\n    ")
    paragraphs = [textwrap.fill(paragraph.replace("``", ""), _WIDTH) for paragraph in text.strip().split("\n\n")]
    block = textwrap.indent(textwrap.dedent(f"    {examples}").strip(), "  ")
    return {
        "description": "\n\n".join(paragraphs),
        "epilog": f"examples:\n{block}",
        "formatter_class": HelpFormatter,
        "add_help": False,
    }


def _with_help(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("-h", "--help", action="help", help="Print this help and exit.")
    return parser
