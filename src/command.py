"""What the commands on finished runs have in common: plain words and key=value, errors in sentences, packages of an extra."""

import importlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NoReturn

from src.errors import ConfigError, UserError, suggest
from src.files import describe
from src.launching.stop import end_on_stop
from src.masking import mask
from src.terminal import accept_any_text


def status_of(do: Callable[[], int | None]) -> int:
    """Do it and return the exit status: what ``do`` returns (None is 0), 2 a wrong command line, 130 after Ctrl-C, 1 any
    other mistake of the user's, who is told in a sentence.
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
    except BrokenPipeError:  # the reader, such as head, had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"error: {describe(error)}", file=sys.stderr)
        return 1


def exit_with(status: int) -> NoReturn:
    """Exit; a signal that arrives meanwhile ends the process without a traceback from the interpreter's own clean-up."""
    end_on_stop()
    sys.exit(status)


@contextmanager
def storing(otherwise: str) -> Iterator[None]:
    """Store a result that has been printed already, which is possible only where the run may be written.

    Args:
        otherwise: what is the case if it cannot be stored.

    Raises:
        UserError: it cannot.
    """
    try:
        yield
    except OSError as error:
        raise UserError(f"{otherwise}: {describe(error)}") from error


def settings_in(words: Sequence[str], choices: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Read ``key=value`` words.

    Args:
        words: what was typed.
        choices: the values that each key may have; the first is taken where nothing is said.

    Raises:
        ConfigError: a word that is none of them.
    """
    settings = {name: values[0] for name, values in choices.items()}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise ConfigError(f"{word}: a setting is key=value, as in {key_value(choices)}.")
        if key not in choices:
            raise ConfigError(
                f"{word}: there is no such setting{suggest(key, choices)} (there are {', '.join(choices)})"
            )
        if value not in choices[key]:
            raise ConfigError(f"{word}: {key} must be {' or '.join(choices[key])}{suggest(value, choices[key])}")
        settings[key] = value
    return settings


def key_value(choices: Mapping[str, Sequence[str]]) -> str:
    """An example."""
    key, values = next(iter(choices.items()))
    return f"{key}={values[-1]}"


def needs(extra: str, *packages: str) -> None:
    """See that the packages of an extra are there.

    Raises:
        UserError: one is not; it names the extra.
    """
    for package in packages:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise UserError(
                f"this needs {package}, which is not installed: pip install {package}, or the extra {extra!r} of this "
                "project's pyproject.toml; make install brings it."
            ) from error
