"""Changes of records by ``tag``, ``note`` and ``rename``."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from src.bounds import WORD
from src.errors import ConfigError, UserError
from src.records.record import Record
from src.runs.output import Rows, print_text

Edit = Callable[[dict[str, Any]], Mapping[str, Any]]


def edit(records: Sequence[Record], entry: str, change: Edit) -> list[dict[str, Any]]:
    """Change an entry of runs; returns their ids with its new value.

    Raises:
        UserError: a record cannot be written.
    """
    for record in records:
        try:
            record.change(change)
        except OSError as error:
            raise UserError(f"{record.directory} cannot be written ({error.strerror}).") from None
    return [{"id": record.values["id"], entry: record.values[entry]} for record in records]


def print_edited(form: str | None, rows: Rows) -> None:
    """Print ``<id>: <the new value>`` for each row that ``edit`` returns."""
    print_text(form, rows, "\n".join(map(_as_line, rows)))


def _as_line(row: Mapping[str, Any]) -> str:
    id, (entry, value) = row["id"], next(item for item in row.items() if item[0] != "id")
    text = " ".join(value) if isinstance(value, list) else value
    return f"{id}: {text or f'no {entry}'}"


def check_tags(words: Sequence[str]) -> None:
    """Check that words are valid tags.

    Raises:
        ConfigError: one is not.
    """
    for word in words:
        check_word("a tag", word)


def check_word(what: str, word: str) -> None:
    """Check that a word is valid as a tag or a name; ``what`` it is precedes the rule in the message.

    Raises:
        ConfigError: it is not.
    """
    if len(word) > 64 or not re.match(WORD, word):
        raise ConfigError(f"{word!r}: {what} has letters, digits, '.', '_' and '-', at most 64 of them.")
