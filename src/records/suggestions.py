"""Words that complete an argument: runs, sweeps, filters, names of metrics and settings.

Each function has the signature of argcomplete's completers: the prefix to complete, and keyword arguments that it ignores.
It returns words, or words with their descriptions, of which the caller selects those that begin with the prefix.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from src.paths import runs_dir, sweeps_dir
from src.records.filters import FIELDS, STATUS_WORDS, values_of
from src.records.record import RECORD, Record
from src.records.sweep import SWEEP
from src.records.trash import trash_dir

# Records that are read for names of runs and of settings: the latest, as reading a thousand takes a fifth of a second.
_READ = 100
# Start of the last name in an unfinished filter, such as "optimizer.lr<0.01 and val/a".
_LAST = re.compile(r"(?:^|.*[\s(<>=!,])(?=[\w./]*$)", re.DOTALL)
_OPERATORS = ("and", "or", "not", "in")


def runs(prefix: str, **_: Any) -> dict[str, str]:
    """The keywords, names and ids that select a run, latest first."""
    keywords = {"latest": "the latest finished run", "best": "the best finished run"}
    named, described = dict[str, str](), dict[str, str]()
    for record in _latest():
        id, name = record.values["id"], record.values["name"]
        described[id] = f"{name or ''} {record.status}".strip()
        if name:
            named.setdefault(name, f"{id} {record.status}")
    ids = {path.name: described.get(path.name, "") for path in _directories(runs_dir(), "r")}
    return keywords | named | described | ids


def sweeps(prefix: str, **_: Any) -> dict[str, str]:
    """The keyword and ids that select a sweep, latest first."""
    ids = {path.name: "" for path in _directories(sweeps_dir(), "s") if (path / SWEEP).is_file()}
    return {"latest": "the latest sweep"} | ids


def runs_and_sweeps(prefix: str, **_: Any) -> dict[str, str]:
    """The words that select runs or sweeps."""
    return sweeps(prefix) | runs(prefix)


def archived_runs(prefix: str, **_: Any) -> list[str]:
    """The ids of runs in the trash."""
    return sorted(path.stem for path in trash_dir().glob("*.tar"))


def names(prefix: str, **_: Any) -> dict[str, str]:
    """The names to which a filter can refer: fields, and the metrics and settings of the latest runs."""
    found = {name: "" for record in _latest() for name in sorted(values_of(record)) if name not in FIELDS}
    return {**FIELDS, **found}


def filters(prefix: str, **_: Any) -> dict[str, str]:
    """The names and words that may follow in a filter, each after what is already typed of it."""
    match = _LAST.match(prefix)
    start = match.group() if match else ""
    words = names("") | dict.fromkeys(STATUS_WORDS, "status")
    words |= dict.fromkeys(_OPERATORS, "operator") if start else {"not": "operator"}
    return {f"{start}{word}": text for word, text in words.items()}


def _directories(folder: Path, letter: str) -> list[Path]:
    return sorted(folder.glob(f"{letter}[0-9]*"), reverse=True)


def _latest() -> Iterator[Record]:
    """The latest readable records, latest first."""
    single = [path.parent for path in runs_dir().glob(f"*/{RECORD}")]
    jobs = [path.parent for path in sweeps_dir().glob(f"*/*/{RECORD}")]
    yield from islice(_readable(sorted([*single, *jobs], key=_time, reverse=True)), _READ)


def _time(directory: Path) -> str:
    """Sort key of a run's directory: the time in its name, for a job of a sweep that of the sweep."""
    return f"{directory.parent.name if directory.name.isdigit() else directory.name}"[1:]


def _readable(directories: Iterable[Path]) -> Iterator[Record]:
    for directory in directories:
        try:
            yield Record.load(directory)
        except (OSError, ValueError):  # damaged, which python -m src.runs ls reports
            continue
