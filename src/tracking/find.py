"""Finding runs again: the one way from a word a person types to a run's directory. Reads records, imports no torch."""

import os
from pathlib import Path

from src.errors import RunNotFound, suggest
from src.paths import RUNS, SWEEPS
from src.tracking.record import RECORD, Record

_FEW = 20


def read_all() -> tuple[list[Record], list[str]]:
    """Every run that has a readable record, single runs and jobs of sweeps, oldest first.

    Returns:
        The records, and a sentence for each that cannot be read.
    """
    records, damaged = [], []
    for path in [*RUNS.glob(f"*/{RECORD}"), *SWEEPS.glob(f"*/*/{RECORD}")]:
        try:
            records.append(Record.load(path.parent))
        except FileNotFoundError:  # being removed
            continue
        except (OSError, ValueError) as error:
            damaged.append(str(error))
    return sorted(records, key=lambda record: (record.values["started"], record.values["id"])), damaged


def all_runs() -> list[Record]:
    """Every run that has a readable record, oldest first."""
    return read_all()[0]


def find(word: str) -> Record:
    """Find a run by its id, a unique beginning of it, its name, its directory, ``latest`` or ``best``.

    ``latest`` is the latest finished run; ``best`` the finished one with the highest val/acc; a name stands for the
    latest run that bears it.

    Raises:
        RunNotFound: nothing, or more than one run, goes by that word.
    """
    if not word or len(word) > 1000:
        raise RunNotFound("a run has an id, a name or a directory, of at most 1,000 characters.")
    if (Path(word) / RECORD).is_file():
        try:
            return Record.load(Path(word).resolve())
        except ValueError as error:
            raise RunNotFound(str(error)) from None
    runs = all_runs()
    done = [run for run in runs if run.values["status"] == "done"]
    if word == "latest" and done:
        return done[-1]
    if word == "best" and (rated := [run for run in done if "val/acc" in run.values["metrics"]]):
        return max(rated, key=_val_acc)
    if word in ("latest", "best"):
        raise RunNotFound(f"{word}: there is no finished run yet; python -m src.train makes one.")
    if exact := [run for run in runs if run.values["id"] == word]:
        return exact[0]
    if named := [run for run in runs if run.values["name"] == word]:
        return named[-1]
    begun = [run for run in runs if run.values["id"].startswith(word)]
    if len(begun) == 1:
        return begun[0]
    ids = [run.values["id"] for run in begun]
    if ids:
        raise RunNotFound(
            f"{word} begins {len(ids)} ids: {', '.join(ids[:5])}{' ...' if len(ids) > 5 else ''}; type more."
        )
    known = {str(run.values[key]) for run in runs for key in ("id", "name") if run.values[key]}
    latest = ", ".join(run.values["name"] or run.values["id"] for run in reversed(runs[-3:]))
    hint = suggest(word, known) or (f"; the latest are {latest}." if latest else "; there is no run yet.")
    raise RunNotFound(f"{word}: there is no run of that id, name or directory{hint}")


def find_before(record: Record) -> Record | None:
    """The latest finished single run that began before this one; None for a job of a sweep, and for the first run.

    Ids begin with the second, so only the newest few records are read.
    """
    if record.values["sweep"]:
        return None
    until = record.directory.name.rpartition("-")[0]
    names = (path.name for path in record.directory.parent.glob("r*") if path != record.directory)
    earlier = []
    for name in sorted(name for name in names if name.rpartition("-")[0] <= until)[-_FEW:]:
        try:
            found = Record.load(record.directory.parent / name)
        except (OSError, ValueError):
            continue
        if found.values["status"] == "done" and found.values["started"] < record.values["started"]:
            earlier.append(found)
    return max(earlier, key=lambda run: run.values["started"], default=None)


def find_to_resume(word: str) -> Record:
    """Find a run as ``find`` does; only ``latest`` is the latest unfinished one.

    Raises:
        RunNotFound: nothing, or more than one run, goes by that word.
    """
    if word != "latest":
        return find(word)
    for record in reversed(all_runs()):
        if record.values["status"] != "done" and (record.status != "running" or record.is_abandoned):
            return record
    raise RunNotFound("resume=latest: there is no unfinished run.")


def of_slurm_job(overrides: list[str]) -> Record | None:
    """The run that this SLURM job made with the same command line before it was put back into the queue."""
    job = os.environ.get("SLURM_JOB_ID")
    runs = (run for run in all_runs() if run.values["environment"].get("slurm_job") == job)
    return next((run for run in runs if run.values["overrides"][: len(overrides)] == overrides), None)


def _val_acc(run: Record) -> float:
    """The highest val/acc where that was monitored, else the last."""
    best = run.values["best"]
    return float(best["value"] if best["metric"] == "val/acc" else run.values["metrics"]["val/acc"])
