"""Sweep records: sweep.json in the sweep's directory, from which the sweep can be found, resumed and ranked."""

import contextlib
import json
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from src.errors import RunNotFound
from src.files import write
from src.masking import conceal, masked, reveal
from src.paths import sweeps_dir
from src.records.find import at_home, find
from src.records.git import store_patch
from src.records.record import RECORD, Record

SWEEP = "sweep.json"
TABLE = "leaderboard.md"
STUDY = "study.db"
# User attribute of a trial with the number of its job.
JOB = "job"
# Setting with the address of a study's storage, which may contain a password.
STORAGE = "hydra.sweeper.storage"


class Sweep:
    """Record of a sweep.

    Args:
        directory: the sweep's directory, which contains its jobs.
        values: the entries of the record: id, command, flags, overrides, jobs (the overrides of each, or None for a search),
            trials (number of jobs; None while only time limits them), mode (max or min), objectives (of a search over several,
            metric to mode), search (settings of the search, or None), deadline (of a search with a time limit, or None), git,
            skipped (numbers of skipped jobs, with the runs that have the same settings), frozen, started.
    """

    def __init__(self, directory: Path, values: dict[str, Any]) -> None:
        self.directory = directory
        # The address may come from a file, and the whole record from an earlier version of this project.
        search = values.get("search")
        if search and search["storage"]:
            search = {**search, "storage": conceal(STORAGE, search["storage"])}
        self.values: dict[str, Any] = masked({**values, "search": search})

    @classmethod
    def start(
        cls,
        directory: Path,
        flags: list[str],
        overrides: list[str],
        *,
        jobs: list[list[str]] | None,
        trials: int | None,
        mode: str,
        objectives: Mapping[str, str] | None = None,
        search: dict[str, Any] | None,
        git: dict[str, Any] | None,
        own_flags: Sequence[str] = (),
        skipped: Mapping[int, str] | None = None,
        frozen: bool = False,
    ) -> "Sweep":
        """Open the record of a new sweep."""
        git = store_patch(git, directory)
        values = {
            "id": directory.name,
            "command": shlex.join(["python", "-m", "src.train", *flags, *own_flags, *overrides]),
            "flags": flags,
            "overrides": overrides,
            "jobs": jobs,
            "trials": trials,
            "mode": mode,
            "objectives": dict(objectives or {}),
            "search": search,
            "git": git,
            "skipped": {str(job): run for job, run in (skipped or {}).items()},
            "frozen": frozen,
            "started": datetime.now(UTC).isoformat(timespec="milliseconds"),
        }
        sweep = cls(directory, values)
        sweep.save()
        return sweep

    @classmethod
    def load(cls, directory: Path) -> "Sweep":
        """Read a sweep's record.

        Raises:
            FileNotFoundError: the directory has no record.
            ValueError: the file is not the record of a sweep.
        """
        values = json.loads((directory / SWEEP).read_text())
        if not isinstance(values, dict) or not {"id", "flags", "overrides", "jobs", "trials", "started"} <= set(values):
            raise ValueError(f"{directory / SWEEP} is not a sweep's record.")
        return cls(directory, values)

    @property
    def started(self) -> datetime:
        """Start time of the sweep."""
        return datetime.fromisoformat(self.values["started"])

    @property
    def objectives(self) -> dict[str, str]:
        """Metric to mode, ``min`` or ``max``, of a search over several objectives; else empty."""
        return self.values.get("objectives") or {}

    def save(self) -> None:
        """Write the record."""
        write(self.directory / SWEEP, json.dumps(self.values, indent=2) + "\n")

    def set_deadline(self, minutes: float | None) -> None:
        """Set the time at which this session of a search ends; None: no limit."""
        deadline = None if minutes is None else datetime.now(UTC) + timedelta(minutes=minutes)
        self.values["deadline"] = deadline and deadline.isoformat(timespec="milliseconds")
        self.save()

    @property
    def seconds_left(self) -> float:
        """Seconds until the deadline of a search; infinite if there is none."""
        deadline = self.values.get("deadline")
        return (datetime.fromisoformat(deadline) - datetime.now(UTC)).total_seconds() if deadline else math.inf

    @property
    def storage(self) -> str:
        """Address of the storage of the search's study, with its password.

        Raises:
            ConfigError: the password is not in the environment.
        """
        address: str | None = self.values["search"]["storage"]
        return reveal(address, STORAGE) if address else f"sqlite:///{self.directory / STUDY}"

    def records(self) -> list[Record]:
        """Records of the jobs that have been started, in the order of their numbers.

        Raises:
            RunNotFound: a job's record is damaged.
        """
        paths = (path.parent for path in self.directory.glob(f"*/{RECORD}") if path.parent.name.isdigit())
        try:
            return [Record.load(path) for path in sorted(paths, key=lambda path: int(path.name))]
        except ValueError as error:
            raise RunNotFound(
                f"{error} Remove the directory of that job: python -m src.train -m resume={self.values['id']} runs it again."
            ) from None

    @property
    def skipped(self) -> dict[int, str]:
        """The skipped jobs of a grid, each with the run that has the same settings."""
        return {int(job): run for job, run in self.values.get("skipped", {}).items()}

    def missing(self) -> list[str]:
        """The jobs that have not been started, each by its number and overrides; for a search how many there are."""
        begun = {int(record.directory.name) for record in self.records()}
        if self.values["trials"] is None:
            return ["the trials of the remaining time"]
        if self.values["jobs"] is None:
            left = self.values["trials"] - len(begun)
            return [f"{left} of {self.values['trials']} trials"] if left > 0 else []
        not_missing = begun | self.skipped.keys()
        jobs = enumerate(self.values["jobs"])
        return [f"{number:03d}: {shlex.join(job)}" for number, job in jobs if number not in not_missing]

    @property
    def is_finished(self) -> bool:
        """Whether every job is done."""
        return not self.missing() and all(record.is_finished for record in self.records())


def find_sweep(word: str) -> Sweep:
    """Find a sweep by its id, a unique part of its id, its directory, or ``latest``.

    Raises:
        RunNotFound: no sweep matches, or several do.
    """
    if (Path(word) / SWEEP).is_file():
        return _load(at_home(Path(word)))
    names = {path.parent.name for path in sweeps_dir().glob(f"*/{SWEEP}")}
    if not names:
        raise RunNotFound(f"{word}: there is no sweep yet; python -m src.train -m makes one.")
    found = (
        [name for name in names if name == word]
        or [name for name in names if name.startswith(word)]
        or [name for name in names if word in name]
    )
    if word != "latest" and len(found) == 1:
        return _load(sweeps_dir() / found[0])
    sweeps = []
    for name in names:
        with contextlib.suppress(OSError, ValueError):  # sweeps without a readable record are ignored
            sweeps.append(Sweep.load(sweeps_dir() / name))
    sweeps.sort(key=lambda sweep: (sweep.started, sweep.directory.name))
    if word == "latest" and sweeps:
        return sweeps[-1]
    latest = ", ".join(sweep.directory.name for sweep in sweeps[-3:])
    raise RunNotFound(f"{word}: {len(found) or 'no'} sweeps go by that; the latest are {latest}.")


def find_run_or_sweep(word: str) -> Record | Sweep:
    """Find a run as ``find`` does, or a sweep; a part of an id that selects both, as of a single job, selects the run.

    Raises:
        RunNotFound: no run and no sweep matches, or several do.
    """
    if (Path(word) / SWEEP).is_file() or (word and (sweeps_dir() / word / SWEEP).is_file()):
        return find_sweep(word)
    try:
        return find(word)
    except RunNotFound:
        with contextlib.suppress(RunNotFound):
            return find_sweep(word)
        raise


def find_several(words: Sequence[str]) -> list[Record]:
    """The runs that arguments select: each is a run, a sweep, which stands for its jobs, or several separated by commas.

    Raises:
        RunNotFound: an argument matches no run and no sweep, or several; or a sweep has no jobs yet.
    """
    records: list[Record] = []
    for word in words:
        parts = word.split(",") if "," in word and not Path(word).exists() else [word]
        for part in parts:
            found = find_run_or_sweep(part)
            jobs = found.records() if isinstance(found, Sweep) else [found]
            if not jobs:
                raise RunNotFound(f"{part}: the sweep has no jobs yet.")
            records += jobs
    return records


def once(records: Iterable[Record]) -> list[Record]:
    """Remove duplicates. A copy of a run's directory has the same id, but counts as a separate run."""
    return list({record.directory.resolve(): record for record in records}.values())


def _load(directory: Path) -> Sweep:
    try:
        return Sweep.load(directory)
    except ValueError as error:
        raise RunNotFound(str(error)) from None
