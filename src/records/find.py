"""Lookup of runs: from a command line argument to a run's directory. Reads records, imports no torch."""

import contextlib
import gc
import heapq
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from src.errors import ConfigError, RunNotFound, UserError, suggest
from src.files import describe
from src.paths import runs_dir, sweeps_dir
from src.records.record import FORMAT, RECORD, Record
from src.records.summary import find_best

_KEYWORDS = {"latest": "the latest finished run", "best": "the best finished run"}
# Prefix of the id of an imported run, a run or a sweep.
_ID = re.compile(r"[irs]\d{8}-")
_FEW = 20
# Ids contain the time in UTC; those of earlier versions contain local time, which differs from it by at most this much.
_APART = timedelta(hours=14)
# Maximum difference between the clocks of the machines that train and those that store the files, in seconds.
_SKEW_S = 3600.0


def check_name(name: str | None) -> None:
    """Check that the name of a new run is not ambiguous as an argument that selects a run.

    Raises:
        ConfigError: the name is ambiguous.
    """
    if name is None:
        return
    if name in _KEYWORDS:
        raise ConfigError(f"name={name} stands for {_KEYWORDS[name]} wherever a run is named: choose another name.")
    if _ID.match(name):
        raise ConfigError(f"name={name} begins as the id of a run or a sweep does: choose another name.")
    if name.startswith("-") or not name.strip("."):
        raise ConfigError(f"name={name} would be read as an option or a directory: begin it with a letter or a digit.")


def read_all() -> tuple[list[Record], list[str]]:
    """Every run that has a readable record, single runs and jobs of sweeps, oldest first.

    Returns:
        The records, and a message for each that cannot be read.
    """
    records, damaged = [], []
    with _without_collection():
        for directory, _ in _directories():
            try:
                records.append(Record.load(directory))
            except FileNotFoundError:  # being removed
                continue
            except (OSError, ValueError) as error:
                damaged.append(describe(error) if isinstance(error, OSError) else str(error))
    return _by_start(records), damaged


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """Pause the garbage collector, which would traverse all records again and again, although they contain no cycles."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.freeze()  # both together move what was made to the oldest generation, which is rarely traversed
            gc.unfreeze()
            gc.enable()


@dataclass(frozen=True)
class Latest:
    """The latest runs, read without the records of all others.

    Attributes:
        records: the latest runs, oldest first.
        damaged: a message for each record among those read that cannot be read.
        ids: ids of all runs; of those not read, as their directories state them.
    """

    records: list[Record]
    damaged: list[str]
    ids: list[str]


def read_latest(count: int) -> Latest:
    """The ``count`` latest runs: records are read in the order of their last change, which is never before a run's start."""
    found = sorted(_directories(), key=lambda one: -one[1])
    records: list[Record] = []
    starts: list[float] = []  # a heap, of the latest ones read so far
    damaged, ids = [], []
    for position, (directory, changed) in enumerate(found):
        if len(starts) == count and changed + _SKEW_S < starts[0]:
            ids += [_id_of(one) for one, _ in found[position:]]
            break
        try:
            record = Record.load(directory)
        except FileNotFoundError:  # being removed
            continue
        except (OSError, ValueError) as error:
            damaged.append(describe(error) if isinstance(error, OSError) else str(error))
            continue
        records.append(record)
        ids.append(record.values["id"])
        heapq.heappush(starts, record.started.timestamp())
        if len(starts) > count:
            heapq.heappop(starts)
    return Latest(_by_start(records)[-count:], damaged, ids)


def _directories() -> Iterator[tuple[Path, float]]:
    """The directories of all runs, and when the record in each was last changed, in seconds since 1970."""
    for folder in (runs_dir(), *_folders(sweeps_dir())):
        for directory in _folders(folder):
            with contextlib.suppress(OSError):  # no record, or none that may be looked at
                yield directory, os.stat(f"{directory}/{RECORD}").st_mtime


def _folders(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in os.listdir(folder)]
    except OSError:  # not a directory, or not readable
        return []


def _by_start(records: Iterable[Record]) -> list[Record]:
    return sorted(records, key=lambda record: (record.started, record.values["id"]))


def _id_of(directory: Path) -> str:
    """The id of a run as its directory states it."""
    return directory.name if directory.parent == runs_dir() else f"{directory.parent.name}-{directory.name}"


def all_runs() -> list[Record]:
    """Every run that has a readable record, oldest first."""
    return read_all()[0]


def at_home(path: Path) -> Path:
    """Normalize the path of a directory relative to outputs/; resolved if it is elsewhere.

    outputs/, or a folder in it, may be a symbolic link.
    """
    real = path.resolve()
    for folder in (runs_dir(), sweeps_dir()):
        if real.is_relative_to(folder.resolve()):
            return folder / real.relative_to(folder.resolve())
    return real


def find(word: str, *, only: bool = False) -> Record:
    """Find a run by its id, its name, a unique part of its id, its directory, ``latest`` or ``best``.

    ``latest`` is the latest finished run; ``best`` the one with the best value of the metric that the latest monitors,
    among the finished runs on its data set; a name selects the latest run with that name.

    Args:
        word: the command line argument.
        only: whether a name or an id that several runs share is an error, as for a command that removes runs.

    Raises:
        RunNotFound: no run matches, or several do.
    """
    if not word or len(word) > 1000:
        raise RunNotFound("a run has an id, a name or a directory, of at most 1,000 characters.")
    if (Path(word) / RECORD).is_file():
        try:
            return Record.load(at_home(Path(word)))
        except ValueError as error:
            raise RunNotFound(str(error)) from None
    return choose(word, all_runs(), only=only)


def find_to_rebuild(word: str) -> Record:
    """Find a run as ``find`` does, to rebuild its model or to train it again; ``latest`` and ``best`` ignore imported runs.

    Raises:
        RunNotFound: no run matches, or several do.
        UserError: the run was made by another version of this project, or imported.
    """
    is_keyword = word in _KEYWORDS and not (Path(word) / RECORD).is_file()
    record = choose(word, [run for run in all_runs() if not run.is_imported]) if is_keyword else find(word)
    check_format(record)
    return record


def check_format(record: Record) -> None:
    """Check that the modules in a run's configuration exist in this version of the project.

    Raises:
        UserError: the run was made by another version, or imported.
    """
    check_origin(record)
    if record.format != FORMAT:
        id, version = record.values["id"], "an earlier" if record.format < FORMAT else "a later"
        raise UserError(
            f"{id} was made by {version} version of this project (format {record.format}, here {FORMAT}), in which modules have "
            f"other names, so it cannot be rebuilt: python -m src.runs reproduce {id} prints how to make it with its own code."
        )


def check_origin(record: Record) -> None:
    """Check that a run was made by this project.

    Raises:
        UserError: the run was imported.
    """
    if record.is_imported:
        raise UserError(
            f"{record.values['id']} was imported from {record.values['imported']['kind']}: it has settings, metrics and curves, "
            "but neither a checkpoint nor a command of this project."
        )


def choose(word: str, runs: Sequence[Record], *, only: bool = False, place: str = "") -> Record:
    """Choose among runs as ``find`` does, but for directories.

    Args:
        word: the command line argument.
        runs: the runs, oldest first.
        only: see ``find``.
        place: location of the runs for the error message, such as `` in the trash``.

    Raises:
        RunNotFound: no run matches, or several do.
    """
    if word == "latest" and (done := [run for run in runs if run.is_finished and not run.is_imported]):
        return done[-1]
    if word == "best":
        return find_best(runs)
    if word == "latest":
        raise RunNotFound(f"{word}: there is no finished run{place or ' yet; python -m src.train makes one'}.")
    found = _going_by(word, runs)
    if not found:
        known = {str(run.values[key]) for run in runs for key in ("id", "name") if run.values[key]}
        latest = ", ".join(run.values["name"] or run.values["id"] for run in reversed(runs[-3:]))
        hint = suggest(word, known) or (
            f"; the latest are {latest}." if latest else f"; there is no run{place or ' yet'}."
        )
        raise RunNotFound(f"{word}: there is no run of that id, name or directory{place}{hint}")
    if only and len(found) > 1:
        raise RunNotFound(
            f"{word}: {len(found)} runs go by that{place}: {_few(labels(found), _FEW)}; name one of them."
        )
    if len({run.values["id"] for run in found}) == 1:
        return next((run for run in found if not run.is_copy), found[0])
    if all(run.values["name"] == word for run in found):
        return found[-1]
    raise RunNotFound(f"{word} is part of {len(found)} ids: {_few(labels(found), _FEW)}; type more.")


def _going_by(word: str, runs: Sequence[Record]) -> list[Record]:
    """The runs with this id; else with this name; else with this prefix of the id; else with this part of it."""
    return (
        [run for run in runs if run.values["id"] == word]
        or [run for run in runs if run.values["name"] == word]
        or [run for run in runs if run.values["id"].startswith(word)]
        or [run for run in runs if word in run.values["id"]]
    )


def labels(runs: Sequence[Record]) -> list[str]:
    """The id of each run, with its directory if several runs have the same id, as copies of a directory do."""
    count = Counter(id for id, _ in {(run.values["id"], run.directory) for run in runs})
    return [
        id if count[id] == 1 else f"{id} ({directory.parent.name}/{directory.name})"
        for id, directory in ((run.values["id"], run.directory) for run in runs)
    ]


def short_ids(ids: Sequence[str], every: Collection[str], names: Collection[str]) -> list[str]:
    """The shortest end of each id that selects its run: ``a81a`` of ``r20261124-000959-a81a``, if no other id contains it.

    Args:
        ids: the ids to shorten.
        every: the ids of all runs.
        names: the names of runs, which take precedence over parts of ids.
    """
    occurring: dict[int, Counter[str]] = {}

    def is_unique(end: str) -> bool:
        length = len(end)
        if length not in occurring:
            occurring[length] = Counter(
                part for id in every for part in {id[at : at + length] for at in range(len(id) - length + 1)}
            )
        return occurring[length][end] == 1 and end not in names

    def ends(id: str) -> Iterator[str]:
        parts = id.split("-")
        yield from ("-".join(parts[-count:]) for count in range(1, len(parts)))

    return [next((end for end in ends(id) if is_unique(end)), id) for id in ids]


def _few(words: Sequence[str], count: int) -> str:
    return ", ".join(words[:count]) + (" ..." if len(words) > count else "")


def find_before(record: Record) -> Record | None:
    """The latest finished single run that started before this one, except those tagged ``debug``; None for a job of a sweep, and
    for the first run.

    Ids contain the approximate start time, so that only the records of the last runs are read.
    """
    if record.values["sweep"]:
        return None
    latest = None
    for directory in sorted(record.directory.parent.glob("r*"), key=lambda path: path.name, reverse=True):
        if directory.name > _id_at(record.started + _APART):
            continue
        if latest and directory.name < _id_at(latest.started - _APART):
            break
        try:
            found = Record.load(directory)
        except (OSError, ValueError):
            continue
        if found.is_finished and found.started < record.started and "debug" not in found.values["tags"]:
            latest = max(latest or found, found, key=lambda run: run.started)
    return latest


def _id_at(time: datetime) -> str:
    """Prefix of the ids of single runs that started at this time."""
    return f"r{time.astimezone(UTC):%Y%m%d-%H%M%S}"


def find_to_resume(word: str) -> Record:
    """Find a run as ``find`` does, except that ``latest`` is the latest unfinished run.

    Interrupted runs take precedence over failed ones. Runs that would fail again, are read-only, or were made by another version
    of this project are ignored, and so are imported runs.

    Raises:
        RunNotFound: no run matches, or several do.
        UserError: the run was made by another version of this project.
    """
    if word != "latest":
        return find_to_rebuild(word)
    unfinished = [
        run
        for run in all_runs()
        if not (run.is_finished or run.is_busy or run.is_imported)
        and run.format == FORMAT
        and os.access(run.directory, os.W_OK)
    ]
    hopeful = [run for run in unfinished if not run.would_fail_again]
    if hopeful:
        return max(hopeful, key=lambda run: (run.values["status"] != "failed", run.started))
    left = f" but {_few(labels(unfinished[::-1]), 3)}, which would fail again" if unfinished else ""
    raise RunNotFound(
        f"resume=latest: there is no unfinished run to resume{left}; resume=RUN trainer.max_epochs=N trains a finished run longer."
    )


def of_slurm_job(job: str, overrides: list[str]) -> Record | None:
    """The run that a SLURM job started with the same command line before it was requeued."""
    runs = (run for run in all_runs() if run.values["environment"].get("slurm_job") == job)
    return next((run for run in runs if run.values["overrides"][: len(overrides)] == overrides), None)
