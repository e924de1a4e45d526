"""Changes of records: ``tag``, ``note`` and ``rename``."""

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from src.bounds import WORD
from src.errors import ConfigError, UserError
from src.records.find import check_name, find
from src.records.record import Record
from src.records.sweep import find_several, once

Edit = Callable[[dict[str, Any]], Mapping[str, Any]]


def tag(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Tag the runs, or remove tags; returns their ids and tags."""
    check_tags(args.words)

    def retag(run: dict[str, Any]) -> dict[str, Any]:
        kept = [tag for tag in run["tags"] if tag not in args.words]
        return {"tags": kept if args.remove else [*kept, *dict.fromkeys(args.words)]}

    return _edit(once(find_several([args.run])), "tags", retag)


def note(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Set the note of the runs, or remove it; returns their ids and notes."""
    # Python decodes arguments that are not UTF-8 to surrogates, which neither files nor events can encode.
    text = " ".join(args.text).encode(errors="surrogateescape").decode(errors="replace").strip()
    if len(text) > 10_000:
        raise ConfigError(f"a note has at most 10,000 characters, not {len(text):,}.")
    return _edit(once(find_several([args.run])), "note", lambda _: {"note": text or None})


def rename(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Set the name of a run, or remove it; returns its id and name. The id and the directory stay."""
    if args.name:
        _check_word("a name", args.name)
        check_name(args.name)
    return _edit([find(args.run)], "name", lambda _: {"name": args.name or None})


def check_tags(words: Sequence[str]) -> None:
    """Check that words are valid tags.

    Raises:
        ConfigError: one is not.
    """
    for word in words:
        _check_word("a tag", word)


def _check_word(what: str, word: str) -> None:
    if len(word) > 64 or not re.match(WORD, word):
        raise ConfigError(f"{word!r}: {what} has letters, digits, '.', '_' and '-', at most 64 of them.")


def _edit(records: Sequence[Record], entry: str, edit: Edit) -> list[dict[str, Any]]:
    for record in records:
        try:
            record.change(edit)
        except OSError as error:
            raise UserError(f"{record.directory} cannot be written ({error.strerror}).") from None
    return [{"id": record.values["id"], entry: record.values[entry]} for record in records]


def as_line(row: Mapping[str, Any]) -> str:
    """``<id>: <the new value>``, for a row that ``tag``, ``note`` or ``rename`` returns."""
    id, (entry, value) = row["id"], next(item for item in row.items() if item[0] != "id")
    text = " ".join(value) if isinstance(value, list) else value
    return f"{id}: {text or f'no {entry}'}"
