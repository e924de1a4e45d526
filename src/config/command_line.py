"""Parsing of Hydra's command line, and its expansion into the jobs of a multirun."""

import argparse
import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.config.hydra_internals import ConfigLoader, Override, get_args_parser, grid, parse_overrides, parse_space
from src.errors import ConfigError
from src.parsers import HelpFormatter

PLAN, SKIP_DONE, FROZEN = "--plan", "--skip-done", "--frozen"
# Flags that this project adds to Hydra's.
OWN_FLAGS = {
    PLAN: "With -m: list the jobs of the sweep, with the results of those that have run already, and exit.",
    SKIP_DONE: "With -m: leave out the jobs of a grid whose settings a finished run has had.",
    FROZEN: "With -m: run all jobs with the code at the start of the sweep, also after it is resumed.",
}
# Hydra's flags by attribute; those without a description are refused, or do nothing here.
_HYDRA_FLAGS = {
    "help": "Print all groups and settings, for the choices on the command line, and exit.",
    "hydra_help": "Print Hydra's own help and exit.",
    "version": "Print Hydra's version and exit.",
    "overrides": "Choices such as optimizer=sgd and settings such as optimizer.lr=0.05; --help lists all.",
    "cfg": "Print the configuration and exit: 'job' (this program's), 'hydra' (Hydra's) or 'all'.",
    "resolve": "With --cfg job: resolve interpolations.",
    "package": "With --cfg job: print only this part, such as optimizer.",
    "multirun": "Run a sweep: a job for each combination of comma-separated values, or a search.",
    "info": "Print what Hydra knows and exit: 'all', 'config', 'defaults', 'defaults-tree', 'plugins' or 'searchpath' "
    "(default: all).",
}
# Hydra's flags that would bypass the checks.
_REFUSED = ("config_path", "config_dir", "config_name", "experimental_rerun")
# Maximum number of folds; a larger one is assumed to be a typing error.
_MOST_FOLDS = 10_000


@dataclass(frozen=True)
class CommandLine:
    """A parsed command line.

    Attributes:
        flags: Hydra's flags, as arguments for Hydra.
        overrides: the ``key=value`` arguments.
        multirun: whether ``-m`` is set.
        asks: the requested output if no training starts: ``help``, ``plan`` (--plan), ``configuration`` (--cfg) or ``hydra``
            (Hydra's other information flags).
        own_flags: the flags that this project adds to Hydra's.
    """

    flags: list[str]
    overrides: list[str]
    multirun: bool
    asks: str | None
    own_flags: tuple[str, ...] = ()


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line: Hydra's, with this project's descriptions and flags."""
    parser = get_args_parser()
    parser.prog, parser.description = "python -m src.train", "Train a model and record the run."
    parser.usage, parser.formatter_class = "%(prog)s [FLAGS] [KEY=VALUE ...]", HelpFormatter
    for action in parser._actions:
        action.help = _HYDRA_FLAGS.get(action.dest, argparse.SUPPRESS)
        action.metavar = {"overrides": "KEY=VALUE", "info": "WHAT"}.get(action.dest)
    for flag, text in OWN_FLAGS.items():
        parser.add_argument(flag, action="store_true", help=text)
    return parser


def parse(argv: list[str]) -> CommandLine:
    """Parse ``argv``. Flags and overrides may be mixed in any order, which Hydra itself does not allow.

    Raises:
        ConfigError: a flag is unknown or would bypass the checks, an argument is not valid UTF-8, or Python runs with ``-O``.
    """
    for word in argv:
        try:
            word.encode()
        except UnicodeEncodeError:  # neither YAML nor an event file can encode it
            raise ConfigError(
                f"{word!a} is not UTF-8 text, as all that is recorded must be: type it in UTF-8, or rename the file or folder."
            ) from None
    if not __debug__:  # Hydra advances its parser in assertions: functions and dicts cannot be parsed without
        raise ConfigError(
            "Hydra cannot read command lines in Python's optimized mode: leave out -O and unset PYTHONOPTIMIZE."
        )
    parser = build_parser()
    usage = io.StringIO()
    try:
        with contextlib.redirect_stderr(usage):
            args = parser.parse_intermixed_args(argv)
    except SystemExit as end:
        if not end.code:  # --version
            raise
        problem = usage.getvalue().strip().splitlines()[-1].partition("error: ")[2]
        hint = "; a setting is written as key=value, as in optimizer.lr=0.05" if "unrecognized" in problem else ""
        raise ConfigError(f"{problem}{hint}; --help lists what can be set.") from None
    for flag in _REFUSED:
        if getattr(args, flag, None) is not None:
            raise ConfigError(
                f"--{flag.replace('_', '-')} is not supported: put the file into conf/experiment/ instead."
            )
    commands = ["--cfg"] * bool(args.cfg) + ["--info"] * bool(args.info) + ["--multirun"] * args.multirun
    if len(commands) > 1:
        raise ConfigError(f"{' and '.join(commands)} do not go together: choose one.")
    for flag in ("resolve", "package"):
        if getattr(args, flag) and not args.cfg:
            raise ConfigError(f"--{flag} goes with --cfg job.")
    if args.shell_completion:
        raise ConfigError(
            "--shell-completion does not work with python -m; docs/completion.md shows how to complete all commands."
        )
    words = [word for action in parser._actions for word in _as_words(action, args)]
    own_flags = tuple(word for word in words if word in OWN_FLAGS)
    if own_flags and not args.multirun:
        raise ConfigError(f"{own_flags[0]} goes with -m: it is for sweeps.")
    flags = [word for word in words if word not in OWN_FLAGS]
    asks = "hydra" if any([args.hydra_help, args.info]) else None
    asks = "help" if args.help else "configuration" if args.cfg else "plan" if args.plan else asks
    return CommandLine(flags, _with_folds(args.overrides, args.multirun), args.multirun, asks, own_flags)


def _with_folds(overrides: list[str], multirun: bool) -> list[str]:
    """Expand ``data.fold=all`` to the indices of all folds.

    Raises:
        ConfigError: ``-m`` is missing, or ``data.folds`` is not set to a single number.
    """
    if not any(_setting(word) == ("data.fold", "all") for word in overrides):
        return list(overrides)
    if not multirun:
        raise ConfigError("data.fold=all trains each fold, which needs -m; data.fold=0 trains the first.")
    counts = [value for key, value in map(_setting, overrides) if key == "data.folds"]
    if not (counts and counts[-1].isdecimal() and 2 <= int(counts[-1]) <= _MOST_FOLDS):
        found = f"data.folds={counts[-1]}" if counts else "no data.folds"
        raise ConfigError(
            f"data.fold=all needs the number of folds on the command line, and there is {found}: set data.folds=5."
        )
    numbers = ",".join(map(str, range(int(counts[-1]))))
    return [f"data.fold={numbers}" if _setting(word) == ("data.fold", "all") else word for word in overrides]


def _setting(word: str) -> tuple[str, str]:
    key, _, value = word.partition("=")
    return key.lstrip("+").strip(), value.strip().strip("'\"")


def _as_words(action: argparse.Action, args: argparse.Namespace) -> list[str]:
    value = getattr(args, action.dest, None)
    if not action.option_strings or value in (None, False):
        return []
    return [action.option_strings[0]] if value is True else [action.option_strings[0], str(value)]


def fixed_words(line: CommandLine) -> list[str]:
    """The overrides that set a single value, without sweeps."""
    return [o.input_line or "" for o in parse_overrides(line.overrides) if not o.is_sweep_override()]


def typed_values(line: CommandLine) -> dict[str, str]:
    """The overrides that set a single value, key to value as typed."""
    parsed = parse_overrides(fixed_words(line))
    return {o.key_or_group: o.get_value_string() for o in parsed if not o.is_delete()}


def points(
    line: CommandLine, params: Mapping[str, Any] | None = None, loader: ConfigLoader | None = None
) -> list[list[str]]:
    """The overrides of each job: one list for a single run, one per grid point for a multirun.

    Args:
        line: the command line.
        params: sweep parameters of the configuration, key to value, as in ``hydra.sweeper.params``.
        loader: lists the options of a config group, for ``glob()``.
    """
    if not line.multirun:
        return [line.overrides]
    parsed = parse_space(params, line.overrides, loader)
    for override in parsed:
        if override.is_sweep_override() and getattr(override.value(), "shuffle", False):
            raise ConfigError(
                f"{override.input_line}: shuffled jobs would have other numbers each time; leave shuffle out."
            )
    for_hydra = [o.input_line or "" for o in parsed if _belongs_to_hydra(o)]
    rest = [override for override in parsed if not _belongs_to_hydra(override)]
    if not (jobs := grid(rest)):
        raise ConfigError(
            "this sweep has no jobs: one of its ranges is empty, or a glob() matches no choice of its group."
        )
    return [for_hydra + job for job in jobs]


def _belongs_to_hydra(override: Override) -> bool:
    return override.get_key_element().lstrip("+~").startswith(("hydra.", "hydra/", "hydra="))


def quoted_override(key: str, path: Path) -> str:
    """The override ``key='path'``, quoted and escaped for Hydra's grammar."""
    escaped = str(path).replace("'", "\\'")
    return f"{key}='{escaped}'"
