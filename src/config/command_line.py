"""Hydra's command line: parsed, put in order, and cut into the jobs of a sweep."""

import argparse
import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.config.hydra_internals import ConfigLoader, Override, get_args_parser, grid, parse_overrides, parse_space
from src.errors import ConfigError

PLAN, SKIP_DONE, FROZEN = "--plan", "--skip-done", "--frozen"
# The flags that are not Hydra's own.
OWN_FLAGS = {
    PLAN: "list the jobs of a sweep and what is known of each, and start nothing",
    SKIP_DONE: "leave out the jobs of a grid whose settings a finished run has had",
    FROZEN: "run all jobs, also those of a resumed sweep, with the code as it is now",
}
# Jobs of a cross-validation; more would be a mistake.
_MOST_FOLDS = 10_000


@dataclass(frozen=True)
class CommandLine:
    """A command line of Hydra's, parsed and put in order.

    Attributes:
        flags: Hydra's options, in the form it reads.
        overrides: the ``key=value`` words.
        multirun: whether it is a sweep.
        asks: ``help``, ``plan`` (--plan), ``configuration`` (--cfg) or ``hydra`` (what else Hydra tells) where it starts no
            training.
        own_flags: the options that are not Hydra's.
    """

    flags: list[str]
    overrides: list[str]
    multirun: bool
    asks: str | None
    own_flags: tuple[str, ...] = ()


def parse(argv: list[str]) -> CommandLine:
    """Parse ``argv``; flags may stand anywhere among the overrides, which Hydra itself does not allow.

    Raises:
        ConfigError: an unknown flag, one that would lead around the checks, or a Python without assertions.
    """
    for word in argv:
        try:
            word.encode()
        except UnicodeEncodeError:  # neither YAML nor an event file could hold it
            raise ConfigError(
                f"{word!a} is not UTF-8 text, as all that is recorded must be: type it in UTF-8, or rename the file or folder."
            ) from None
    if not __debug__:  # Hydra advances its parser within assertions, so functions and dictionaries cannot be read
        raise ConfigError(
            "Hydra cannot read command lines in Python's optimized mode: leave out -O and unset PYTHONOPTIMIZE."
        )
    parser = get_args_parser()
    for flag, text in OWN_FLAGS.items():
        parser.add_argument(flag, action="store_true", help=text)
    usage = io.StringIO()
    try:
        with contextlib.redirect_stderr(usage):
            args = parser.parse_intermixed_args(argv)
    except SystemExit as end:
        if not end.code:  # --version
            raise
        problem = usage.getvalue().strip().splitlines()[-1].partition("error: ")[2]
        raise ConfigError(f"{problem}; --help lists what can be set.") from None
    for flag in ("config_path", "config_dir", "config_name", "experimental_rerun"):
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
    if args.shell_completion and not args.overrides:
        raise ConfigError("--shell-completion needs install=bash, or zsh or fish.")
    words = [word for action in parser._actions for word in _as_words(action, args)]
    own_flags = tuple(word for word in words if word in OWN_FLAGS)
    if own_flags and not args.multirun:
        raise ConfigError(f"{own_flags[0]} goes with -m: it is for sweeps.")
    flags = [word for word in words if word not in OWN_FLAGS]
    asks = "hydra" if any([args.hydra_help, args.info, args.shell_completion]) else None
    asks = "help" if args.help else "configuration" if args.cfg else "plan" if args.plan else asks
    return CommandLine(flags, _with_folds(args.overrides, args.multirun), args.multirun, asks, own_flags)


def _with_folds(overrides: list[str], multirun: bool) -> list[str]:
    """Overrides with ``data.fold=all`` as the numbers of all folds.

    Raises:
        ConfigError: it is not a multirun, or does not set ``data.folds`` to one number.
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
    """The overrides that set one value."""
    return [o.input_line or "" for o in parse_overrides(line.overrides) if not o.is_sweep_override()]


def typed_values(line: CommandLine) -> dict[str, str]:
    """Key to value of the overrides that set one value, each value as it was typed."""
    parsed = parse_overrides(fixed_words(line))
    return {o.key_or_group: o.get_value_string() for o in parsed if not o.is_delete()}


def points(
    line: CommandLine, params: Mapping[str, Any] | None = None, loader: ConfigLoader | None = None
) -> list[list[str]]:
    """The overrides of each job: one list for a single run, one for every point of a multirun's grid.

    Args:
        line: the command line.
        params: a grid that a file adds to it, key to value, as in ``hydra.sweeper.params``.
        loader: lists the choices of a group, for ``glob()``.
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
    """``key='path'`` in Hydra's grammar, whatever characters the path holds."""
    escaped = str(path).replace("'", "\\'")
    return f"{key}='{escaped}'"
