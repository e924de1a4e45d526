"""Common parts of the entry points: the arguments that several of them have, exit statuses."""

import argparse
import atexit
import importlib
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from src.errors import ConfigError, UserError, not_installed, suggest
from src.files import describe
from src.launching.stop import end_on_stop
from src.masking import mask
from src.records import suggestions
from src.terminal import accept_any_text


@dataclass(frozen=True)
class Setting:
    """A ``key=value`` argument.

    Attributes:
        values: allowed values, the default first; or the range of a number, which has no default.
        help: description.
    """

    values: Sequence[str] | range
    help: str


Settings = Mapping[str, Setting]
CHECKPOINT: Settings = {"checkpoint": Setting(("best", "last"), "weights to load")}


def _with_suggestions(action: argparse.Action, suggest: Callable[..., Iterable[str]]) -> None:
    action.completer = suggest  # type: ignore[attr-defined]  # argcomplete's convention, see src.completion


def add_run(parser: argparse.ArgumentParser, help: str = "", name: str = "run", nargs: str | None = None) -> None:
    """Add the positional argument RUN, or several.

    Args:
        parser: the parser of the command.
        help: sentences that precede the explanation of RUN.
        name: attribute of the parsed arguments.
        nargs: as for argparse.
    """
    action = parser.add_argument(name, nargs=nargs, metavar="RUN", help=f"{help} {_RUN}".strip())
    _with_suggestions(action, suggestions.runs)


_RUN = (
    "Run: an id, a unique part of an id such as a81a, a name, a directory, 'latest' (the latest finished run) or 'best' "
    "(the best finished run)."
)
_SWEEP = "an id, a unique part of an id, a directory or 'latest'"


def add_run_or_sweep(parser: argparse.ArgumentParser, help: str, name: str = "run", nargs: str | None = None) -> None:
    """Add the positional argument RUN|SWEEP, or several; the arguments are those of ``add_run``."""
    text = f"{help} {_RUN} A sweep: {_SWEEP}."
    action = parser.add_argument(name, nargs=nargs, metavar="RUN|SWEEP", help=text)
    _with_suggestions(action, suggestions.runs_and_sweeps)


def add_archived_run(parser: argparse.ArgumentParser) -> None:
    """Add the positional argument RUN of a run in the trash."""
    action = parser.add_argument(
        "run", metavar="RUN", help="Run in the trash: an id, a unique part of an id, or a name."
    )
    _with_suggestions(action, suggestions.archived_runs)


def add_sweep(parser: argparse.ArgumentParser) -> None:
    """Add the option --sweep."""
    action = parser.add_argument(
        "--sweep", metavar="SWEEP", help=f"Show only the jobs of a sweep: {_SWEEP} (default: all runs)."
    )
    _with_suggestions(action, suggestions.sweeps)


_FILTER = (
    "Filter that selects runs, such as \"optimizer.lr<0.01 and done\"; see 'python -m src.runs ls --help'{default}."
)


def add_filter(parser: argparse.ArgumentParser, default: str = "all runs") -> None:
    """Add the positional argument FILTER, one or more words; the attribute is a string, None without a filter."""
    text = _FILTER.format(default=f" (default: {default})")
    action = parser.add_argument("filter", nargs="*", action=_JoinWords, metavar="FILTER", help=text)
    _with_suggestions(action, suggestions.filters)


class _JoinWords(argparse.Action):
    """Joins the words of an argument by spaces; None if there are none."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        setattr(namespace, self.dest, " ".join(values) or None)


def add_filter_option(parser: argparse.ArgumentParser) -> None:
    """Add the option --filter, for commands whose positional arguments are runs."""
    text = _FILTER.format(default=" (default: all runs)")
    _with_suggestions(parser.add_argument("--filter", metavar="FILTER", help=text), suggestions.filters)


def add_name(parser: argparse.ArgumentParser, flag: str, help: str) -> None:
    """Add an option that takes the name of a metric, a setting or a field."""
    _with_suggestions(parser.add_argument(flag, metavar="NAME", help=help), suggestions.names)


def add_format(parser: argparse.ArgumentParser) -> None:
    """Add the options --json and --csv, which exclude each other; the attribute is ``form``."""
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_const", const="json", dest="form", help="Print the result as JSON.")
    form.add_argument("--csv", action="store_const", const="csv", dest="form", help="Print the result as CSV.")


def add_settings(parser: argparse.ArgumentParser, settings: Settings) -> None:
    """Add the positional argument KEY=VALUE, any number of them, to be parsed by ``settings_in``."""
    action = parser.add_argument("settings", nargs="*", default=[], metavar="KEY=VALUE", help=help_of(settings))
    suggest_settings(action, settings)


def suggest_settings(action: argparse.Action, settings: Settings) -> None:
    """Let a positional argument be completed with settings."""
    words = {f"{key}=": setting.help for key, setting in settings.items()}
    values = {
        f"{key}={value}": setting.help
        for key, setting in settings.items()
        if not isinstance(setting.values, range)
        for value in setting.values
    }

    def suggest(prefix: str, **_: Any) -> dict[str, str]:
        return values if "=" in prefix else words

    _with_suggestions(action, suggest)


def help_of(settings: Settings) -> str:
    """Describe settings for --help: ``checkpoint=best|last: weights to load (default: best).``"""
    texts = []
    for key, setting in settings.items():
        default = "" if isinstance(setting.values, range) else f" (default: {setting.values[0]})"
        texts.append(f"{described({key: setting})}: {setting.help}{default}")
    return f"Settings: {'; '.join(texts)}."


def status_of(do: Callable[[], int | None]) -> int:
    """Run a command and return its exit status.

    The status is the return value of ``do`` (None is 0), 2 for an invalid command line, 130 after Ctrl-C, and 1 for any other
    user error, whose message is printed without a traceback.
    """
    accept_any_text()
    try:
        status = do() or 0
        sys.stdout.flush()  # here, where an error can be handled, rather than while the interpreter exits
        return status
    except UserError as error:
        print(f"error: {mask(str(error))}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, such as head, has exited
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"error: {describe(error)}", file=sys.stderr)
        return 1


def exit_with(status: int) -> NoReturn:
    """Exit; a signal received meanwhile ends the process without a traceback from the interpreter's shutdown."""
    global _status
    end_on_stop()
    _status = status
    sys.exit(status)


_status: int | None = None  # with which ``exit_with`` ends the process


@atexit.register
def _leave() -> None:
    """End the process after its exit handlers, without the second that the interpreter needs to free torch's objects."""
    if _status is None:
        return
    logging.shutdown()  # which may have been registered before
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(_status)


@contextmanager
def storing(otherwise: str) -> Iterator[None]:
    """Context in which a result that is already printed is stored; this fails if the run's directory is read-only.

    Args:
        otherwise: the consequence of a failure, for the message.

    Raises:
        UserError: the block raised an OSError.
    """
    try:
        yield
    except OSError as error:
        raise UserError(f"{otherwise}: {describe(error)}") from error


def settings_in(words: Sequence[str], allowed: Settings) -> dict[str, Any]:
    """Parse ``key=value`` arguments; settings that are not passed have their default, or are absent if they have none.

    Raises:
        ConfigError: an argument is not a setting, or its value is not allowed.
    """
    settings: dict[str, Any] = {
        key: setting.values[0] for key, setting in allowed.items() if not isinstance(setting.values, range)
    }
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise ConfigError(f"{word}: a setting is key=value, one of {described(allowed)}.")
        if key not in allowed:
            raise ConfigError(
                f"{word}: there is no such setting{suggest(key, allowed)} (there are {', '.join(allowed)})"
            )
        values = allowed[key].values
        if isinstance(values, range):
            settings[key] = number_in(f"{key}=", value, values)
        elif value in values:
            settings[key] = value
        else:
            raise ConfigError(f"{word}: {key} must be {' or '.join(values)}{suggest(value, values)}")
    return settings


def number_in(name: str, value: str, allowed: range) -> int:
    """Parse a whole number; ``name`` precedes the value in the message.

    Raises:
        ConfigError: it is not in the range.
    """
    if not re.fullmatch(r"\d{1,9}", value, re.ASCII) or int(value) not in allowed:
        raise ConfigError(f"{name}{value} must be a whole number from {allowed[0]} to {allowed[-1]:,}.")
    return int(value)


def described(settings: Settings) -> str:
    """The settings with their values: ``checkpoint=best|last, steps=N``."""
    return ", ".join(
        f"{key}={'N' if isinstance(setting.values, range) else '|'.join(setting.values)}"
        for key, setting in settings.items()
    )


def needs(part: str, *packages: str) -> None:
    """Check that the packages of an extra are installed.

    Args:
        part: the option or command that needs them.
        packages: all packages of the extra.

    Raises:
        UserError: one is not installed.
    """
    for package in packages:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise UserError(not_installed(part, package, " ".join(packages))) from error
