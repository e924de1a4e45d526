"""Readable names of runs in TensorBoard, from the settings that differ."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from src.records import find
from src.records.record import Record
from src.records.replicates import configurations
from src.records.settings import REPLICATES, settings_of, short_names
from src.records.summary import differing

# Maximum length of a name in bytes; names are folders, for which file systems allow 255.
_LONGEST = 100
_FORBIDDEN = re.compile(r"[/\x00-\x1f\x7f]")


def readable_names(records: Sequence[Record]) -> list[str]:
    """A unique name for each run: ``<sweep or name>/<settings>/seed <n> fold <n> <id> (<status>)``.

    Runs with the same configuration share all but the last part. The settings are those that differ among the runs of a sweep,
    with the same name, or without a name, or of an imported experiment; the status is omitted if it is ``done``, and the first part if there is only one.
    """
    families: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        families[_family(record)].append(record)
    labels: dict[int, str] = {}
    for family in families.values():
        varied = {name: words for name, words in differing(family).items() if name not in REPLICATES}
        for record, *words in zip(family, *varied.values(), strict=True):
            pairs = zip(short_names(varied), words, strict=True)
            labels[id(record)] = _as_folder(" ".join(f"{name}={word}" for name, word in pairs if word))
    first = _family if len(families) > 1 else lambda _: ""
    # The number of a job within its sweep, if it is unique, else the id.
    numbers = [
        record.directory.name if record.values["sweep"] and label == record.values["id"] else label
        for record, label in zip(records, find.labels(records), strict=True)
    ]
    return [
        "/".join(filter(None, (first(record), labels[id(record)], _leaf(record, number))))
        for record, number in zip(records, numbers, strict=True)
    ]


def group_names(runs: Mapping[str, Record]) -> dict[str, str]:
    """A unique name for the configuration of each run: the common part of the names of its first run.

    Args:
        runs: the runs by their readable names.
    """
    names: dict[str, str] = {}  # by configuration
    found = dict(zip(runs, configurations(runs.values()), strict=True))
    for name, configuration in found.items():
        label = str(Path(name).parent)
        if configuration not in names:
            names[configuration] = label if label not in names.values() else name
    return {name: names[configuration] for name, configuration in found.items()}


def _family(record: Record) -> str:
    if record.is_imported:
        return _as_folder(record.values["imported"]["experiment"])
    name, sweep = record.values["name"], record.values["sweep"]
    return _as_folder(" ".join(filter(None, (name, sweep))))


def _leaf(record: Record, number: str) -> str:
    status, fold = record.status, settings_of(record).get("data.fold")
    seed = record.values.get("seed", "?")
    number = f"{record.values['name']} {number}".rpartition("/")[2] if record.is_imported else number
    words = [*([] if seed is None else [f"seed {seed}"]), *([] if fold is None else [f"fold {fold}"]), number]
    return _as_folder(" ".join(words) + ("" if status == "done" else f" ({status})"))


def _as_folder(text: str) -> str:
    """Replace characters that are invalid in file systems or special in TensorBoard's paths."""
    plain = _FORBIDDEN.sub("_", text).encode(errors="replace").decode().strip(". ")
    return plain if len(plain) <= _LONGEST else plain[: _LONGEST - 1] + "…"
