"""Readable names of runs in TensorBoard, from the settings that differ."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from src.records import find
from src.records.record import Record
from src.records.replicates import configurations
from src.records.settings import REPLICATES, as_word, settings_of, short_names, shown_names
from src.views.table import brief

# Maximum length of the settings and of the sweep or name; names are folders, for which file systems allow 255 bytes.
_SETTINGS, _TITLE = 100, 60
_FORBIDDEN = re.compile(r"[/\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Name:
    """Names of a run.

    Attributes:
        run: the unique name of the run, ``<settings> <sweep or name> seed <n> fold <n> <id> (<status>)``.
        configuration: the unique name of its configuration, ``<settings> <sweep or name>``, or ``all`` without these.
    """

    run: str
    configuration: str


def run_names(records: Sequence[Record]) -> list[Name]:
    """The names of each run.

    The settings are those that differ among the runs of a sweep, with the same name, or without a name, or of an imported
    experiment, except those implied by a choice, as in the tables of ``runs``. Numbers have four significant digits. The status
    is omitted if it is ``done``, the sweep or name if there is only one. Ids are as short as they can be among these runs.
    """
    families: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        families[_family(record)].append(record)
    labels = {id(record): label for family in families.values() for record, label in _labels(family)}
    titles = _titles(families)
    found: dict[str, str] = {}  # names of configurations
    result = []
    for record, short_id, configuration in zip(records, _ids(records), configurations(records), strict=True):
        label, title = labels[id(record)], titles[_family(record)]
        if configuration not in found:
            shared = " ".join(filter(None, (label, title))) or "all"
            plain = _as_folder(shared)
            found[configuration] = plain if plain not in found.values() else f"{plain} {short_id}"
        status = "" if record.status == "done" else f"({record.status})"
        words = (label, title, *_replicate(record), short_id, status)
        result.append(Name(_as_folder(" ".join(filter(None, words))), found[configuration]))
    return result


def _family(record: Record) -> tuple[str, str]:
    """The name and the sweep of a run; for an imported run its experiment."""
    if record.is_imported:
        return str(record.values["imported"]["experiment"]), ""
    return record.values["name"] or "", record.values["sweep"] or ""


def _titles(families: Collection[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """``<name> <sweep>`` of each family, with the shortest end of the sweep's id; empty if there is only one family."""
    if len(families) == 1:
        return dict.fromkeys(families, "")
    sweeps = list(dict.fromkeys(sweep for _, sweep in families if sweep))
    short = dict(zip(sweeps, find.short_ids(sweeps, sweeps, ()), strict=True))
    return {(name, sweep): _cut(f"{name} {short.get(sweep, '')}".strip(), _TITLE) for name, sweep in families}


def _labels(family: Sequence[Record]) -> Iterator[tuple[Record, str]]:
    """The settings in which each run of a family differs from the others, as ``lr=0.01 optimizer=adam``."""
    shown = [name for name in shown_names(family) if name not in REPLICATES] if len(family) > 1 else []
    for record in family:
        settings = settings_of(record)
        pairs = zip(shown, short_names(shown), strict=True)
        words = [f"{short}={brief(as_word(settings[name]))}" for name, short in pairs if name in settings]
        yield record, _cut(" ".join(words), _SETTINGS)


def _replicate(record: Record) -> list[str]:
    seed, fold = record.values.get("seed"), settings_of(record).get("data.fold")
    return [*([] if seed is None else [f"seed {seed}"]), *([] if fold is None else [f"fold {fold}"])]


def _ids(records: Sequence[Record]) -> list[str]:
    """The shortest end of each id that identifies the run among these; for copies of a directory with the directory."""
    labels = find.labels(records)
    count = Counter(record.values["id"] for record in records)
    unique = [id for id, number in count.items() if number == 1]
    short = dict(zip(unique, find.short_ids(unique, labels, ()), strict=True))
    shown = [short.get(record.values["id"], label) for record, label in zip(records, labels, strict=True)]
    return [
        f"{_cut(record.values['name'].rpartition('/')[2], _TITLE)} {id}" if record.is_imported else id
        for record, id in zip(records, shown, strict=True)
    ]


def _as_folder(text: str) -> str:
    """Replace characters that are invalid in file systems or special in TensorBoard's paths."""
    return _FORBIDDEN.sub("_", text).encode(errors="replace").decode().strip(". ")


def _cut(text: str, size: int) -> str:
    """Shorten a text to a number of bytes."""
    encoded = text.encode(errors="replace")
    return text if len(encoded) <= size else encoded[: size - 3].decode(errors="ignore") + "…"
