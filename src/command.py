"""Common parts of the entry points for finished runs: the run argument, ``key=value`` settings, exit statuses."""

import argparse
import atexit
import importlib
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from src.errors import ConfigError, UserError, suggest
from src.files import describe
from src.launching.stop import end_on_stop
from src.masking import mask
from src.terminal import accept_any_text

# Allowed values of each setting, the default first; or the range of a number, which has no default.
Choices = Mapping[str, Sequence[str] | range]
CHECKPOINT: Choices = {"checkpoint": ("best", "last")}


def run_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """The parser of ``python -m src.<name> RUN``, to which the other arguments are added."""
    parser = argparse.ArgumentParser(
        prog=f"python -m src.{name}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", metavar="RUN", help="an id, a unique prefix of one, a name, a directory, latest or best")
    return parser


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


def settings_in(words: Sequence[str], choices: Choices) -> dict[str, Any]:
    """Parse ``key=value`` arguments; settings that are not passed have their default, or are absent if they have none.

    Raises:
        ConfigError: an argument is not a setting, or its value is not allowed.
    """
    settings: dict[str, Any] = {key: values[0] for key, values in choices.items() if not isinstance(values, range)}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise ConfigError(f"{word}: a setting is key=value, one of {described(choices)}.")
        if key not in choices:
            raise ConfigError(
                f"{word}: there is no such setting{suggest(key, choices)} (there are {', '.join(choices)})"
            )
        allowed = choices[key]
        if isinstance(allowed, range):
            settings[key] = number_in(f"{key}=", value, allowed)
        elif value in allowed:
            settings[key] = value
        else:
            raise ConfigError(f"{word}: {key} must be {' or '.join(allowed)}{suggest(value, allowed)}")
    return settings


def number_in(name: str, value: str, allowed: range) -> int:
    """Parse a whole number; ``name`` precedes the value in the message.

    Raises:
        ConfigError: it is not in the range.
    """
    if not re.fullmatch(r"\d{1,9}", value, re.ASCII) or int(value) not in allowed:
        raise ConfigError(f"{name}{value} must be a whole number from {allowed[0]} to {allowed[-1]:,}.")
    return int(value)


def described(choices: Choices) -> str:
    """The settings for --help: ``checkpoint=best|last, steps=N``."""
    return ", ".join(
        f"{key}={'N' if isinstance(values, range) else '|'.join(values)}" for key, values in choices.items()
    )


def needs(extra: str, *packages: str) -> None:
    """Check that the packages of an extra are installed.

    Raises:
        UserError: one is not; the message names the extra.
    """
    for package in packages:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise UserError(
                f"this needs {package}, which is not installed: pip install {package}, or the extra {extra!r} of this "
                "project's pyproject.toml; make install brings it."
            ) from error
