"""--help of every command: descriptions, examples, width."""

import argparse
import importlib
import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from src.config.command_line import parse
from src.paths import ROOT


def modules(folder: str) -> list[str]:
    """The modules below a folder that are commands and have a parser."""
    paths = [path for path in sorted((ROOT / folder).rglob("*.py")) if "def build_parser" in path.read_text()]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    return [name.removesuffix(".__main__") for name in names]


# Where the parser is, and the command: the parsers of train and runs are in modules that import little.
COMMANDS = {
    **{name: name for folder in ("src", "benchmarks") for name in modules(folder)},
    "tests.helpers.soak": "tests.helpers.soak",
    "src.config.command_line": "src.train",
    "src.runs.arguments": "src.runs",
}


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of its subcommands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.values()


def parser_of(module: str) -> argparse.ArgumentParser:
    path = ROOT.joinpath(*module.split("."))
    return importlib.import_module(f"{module}.__main__" if path.is_dir() else module).build_parser()


def examples(text: str) -> Iterator[list[str]]:
    """The commands in a help text, as words; without comments, redirections and other commands of a pipe."""
    for line in text.splitlines()[1:]:
        inner = re.search(r"\$\((.*)\)", line)
        lexer = shlex.shlex(inner[1] if inner else line, posix=True, punctuation_chars="<>|")
        lexer.whitespace_split = True
        words = list(lexer)  # none of a comment
        words = words[words.index("python") :] if words else []
        if words:
            yield list(itertools.takewhile(lambda word: word not in ("<", ">", "|"), words))


def test_every_command_has_a_parser():
    mains = {
        path.parent if path.name == "__main__.py" else path.with_suffix("")
        for path in (ROOT / "src").rglob("*.py")
        if "\nif __name__ ==" in path.read_text()
    }
    assert {".".join(path.relative_to(ROOT).parts) for path in mains} <= {*COMMANDS.values()}


@pytest.mark.parametrize("module", COMMANDS)
def test_each_argument_is_described_in_sentences(module: str):
    for parser in parsers(parser_of(module)):
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction) or action.help == argparse.SUPPRESS:
                continue
            assert action.help, f"{parser.prog}: {action.option_strings or action.dest}"
            assert action.help[0].isupper(), action.help
            assert action.help[-1] == ".", action.help


@pytest.mark.parametrize("columns", ["40", "200"])
@pytest.mark.parametrize("module", COMMANDS)
def test_help_fits_into_eighty_columns_on_any_terminal(module: str, columns: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", columns)
    for parser in parsers(parser_of(module)):
        lines = parser.format_help().splitlines()
        assert [line for line in lines if len(line) > 80 or line != line.rstrip()] == []
        assert columns == "40" or max(map(len, lines)) > 40


@pytest.mark.parametrize("module", [name for name in COMMANDS if COMMANDS[name] != "src.train"])
def test_every_example_is_a_valid_command_line(module: str):
    root = parser_of(module)
    for parser in parsers(root):
        commands = list(examples(parser.epilog or ""))
        assert commands, parser.prog
        for command in commands:
            assert " ".join(command).startswith(parser.prog)
            words = command[3:]
            if "--help" in words:
                with pytest.raises(SystemExit, match="0"):
                    root.parse_args(words)
            elif isinstance(root._actions[-1], argparse._SubParsersAction):
                root.parse_args(words)
            else:
                root.parse_intermixed_args(words)


@pytest.mark.parametrize("module", ["src.evaluate", "src.predict", "src.export", "src.explain"])
def test_only_what_is_required_is_said_to_be(module: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="2"):
        parser_of(module).parse_intermixed_args(["--format", "onnx"] if module == "src.export" else [])
    assert capsys.readouterr().err.endswith("error: the following arguments are required: RUN\n")


def test_the_examples_of_training_are_valid_command_lines():
    text = Path(ROOT / "conf" / "hydra" / "help" / "train.yaml").read_text().partition("footer:")[0]
    commands = [re.split(r"\s{3,}", line.strip())[0] for line in text.splitlines() if "python -m src.train" in line]
    assert len(commands) >= 8
    for command in commands[1:]:
        parse(shlex.split(command)[3:])
