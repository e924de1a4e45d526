"""Runs of MLflow: directories of its file store, and SQLite databases. Needs no mlflow."""

import math
import os
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from src.errors import DataError
from src.importers.settings import read_yaml, typed
from src.importers.source import CURVE_BYTES, Curves, SourceRun, read_text

META = "meta.yaml"
# The folders of a run in the file store; artifacts are arbitrary files.
FOLDERS = ("params", "metrics", "tags", "artifacts", "inputs", "outputs")
_SQLITE = b"SQLite format 3\0"
# Positions in the header of a database: the version for writing is 2 in the mode WAL.
_VERSION, _WAL = 18, 2
_TABLES = {"experiments", "runs", "params", "metrics", "tags"}
# The file store has the numbers of mlflow.entities.RunStatus.
_NUMBERS = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}
_STATUSES = {
    "RUNNING": "running",
    "SCHEDULED": "running",
    "FINISHED": "done",
    "FAILED": "failed",
    "KILLED": "interrupted",
}
Found = Iterator[SourceRun | DataError]


def is_database(path: Path) -> bool:
    """Whether a file is an SQLite database."""
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE


def _make(
    store: Path, id: str, experiment: str, name: str | None, status: str | None, times: tuple[Any, Any], **parts: Any
) -> SourceRun:
    """A run; ``times`` are its start and its end in milliseconds."""
    started, ended = times
    if not isinstance(started, int) or not (ended is None or isinstance(ended, int)) or status not in _STATUSES:
        raise DataError(f"the status {status!r} with the times {started!r} and {ended!r}")
    return SourceRun(
        kind="mlflow",
        store=store,
        experiment=experiment,
        id=id,
        key=f"mlflow {id}",
        name=name or parts["tags"].get("mlflow.runName") or id,
        status=_STATUSES[status],
        started=started / 1000,
        ended=None if ended is None else ended / 1000,
        **parts,
    )


# File store: STORE/EXPERIMENT/RUN, each run with meta.yaml and the folders params, metrics and tags


def read_directory(directory: Path, root: Path) -> Found:
    """The run of a directory of the file store; nothing if it is not a run, or if it or its experiment is deleted.

    Args:
        directory: contains ``meta.yaml``.
        root: nothing above this directory is read.
    """
    try:
        meta = read_yaml(directory / META)
        if "run_id" not in meta or "lifecycle_stage" not in meta:  # versions of registered models have the former
            return
        above = directory.parent / META
        experiment = read_yaml(above) if directory != root and above.is_file() else {}
        if "deleted" in (meta.get("lifecycle_stage"), experiment.get("lifecycle_stage")):
            return
    except DataError as error:
        yield error
        return
    params, tags, curves = {}, {}, Curves()
    for name, path in _files(directory / "params"):
        try:
            params[name] = typed(read_text(path))
        except DataError as error:
            yield error
    for name, path in _files(directory / "tags"):
        try:
            tags[name] = read_text(path)
        except DataError as error:
            yield error
    for name, path in _files(directory / "metrics"):
        try:
            points = sorted(map(_point, _lines(read_text(path, CURVE_BYTES))))
            for step, time, value in points:
                curves.add(name, step, time / 1000, value)
        except DataError as error:
            yield error
        except (ValueError, IndexError):
            yield DataError(f"{path} does not consist of lines with time, value and step.")
    try:
        yield _make(
            directory.parent.parent,
            str(meta["run_id"]),
            str(experiment.get("name") or meta.get("experiment_id")),
            meta.get("run_name"),
            _NUMBERS.get(meta["status"], meta["status"]),
            (meta.get("start_time"), meta.get("end_time")),
            params=params,
            curves=curves,
            tags=tags,
        )
    except (DataError, TypeError, KeyError) as error:
        yield DataError(f"{directory / META} is not a run's: {error}.")


def _files(directory: Path) -> Iterator[tuple[str, Path]]:
    """The files of a folder by their name within it, such as ``val/loss``. Links are not followed."""
    if directory.is_symlink():
        return
    for folder, _, names in os.walk(directory):
        for path in (Path(folder, name) for name in sorted(names)):
            yield path.relative_to(directory).as_posix(), path


def _lines(text: str) -> list[str]:
    """The complete lines; the last one may be in the course of being written."""
    return text[: text.rfind("\n") + 1].splitlines()


def _point(line: str) -> tuple[int, int, float]:
    """Step, time in milliseconds, and value; early versions wrote no step."""
    words = line.split()
    return int(words[2]) if len(words) > 2 else 0, int(words[0]), float(words[1])


# SQLite


def read_database(path: Path) -> Found:
    """The runs of an MLflow database, without deleted ones. The file is not modified."""
    try:
        with closing(_open(path)) as database:
            yield from _runs(path, database)
    except sqlite3.Error as error:
        yield DataError(f"{path} cannot be read as an MLflow database ({error}).")
    except DataError as error:
        yield error


def _open(path: Path) -> sqlite3.Connection:
    """Open a database for reading, without creating the files that SQLite needs to share one in the mode WAL."""
    with path.open("rb") as file:
        is_wal = file.read(_VERSION + 1)[_VERSION:] == bytes([_WAL])
    is_open = path.with_name(f"{path.name}-shm").exists()
    log = path.with_name(f"{path.name}-wal")
    if is_wal and not is_open and log.exists() and log.stat().st_size:
        raise DataError(f"{path} was not closed properly: open it once with the sqlite3 program, then import it.")
    mode = "immutable=1" if is_wal and not is_open else "mode=ro"
    database = sqlite3.connect(f"file:{quote(str(path.resolve()))}?{mode}", uri=True)
    database.text_factory = partial(str, encoding="utf-8", errors="replace")
    database.execute("PRAGMA trusted_schema=OFF")
    return database


def _runs(path: Path, database: sqlite3.Connection) -> Found:
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type='table'")}
    if missing := _TABLES - tables:
        raise DataError(f"{path} is not an MLflow database: it lacks the table {min(missing)}.")
    # Early versions had the name of a run only in a tag.
    name = "r.name" if "name" in {column[1] for column in database.execute("PRAGMA table_info(runs)")} else "NULL"
    found = database.execute(
        f"SELECT r.run_uuid, e.name, {name}, r.status, r.start_time, r.end_time"
        " FROM runs r JOIN experiments e ON r.experiment_id = e.experiment_id"
        " WHERE r.lifecycle_stage = 'active' AND e.lifecycle_stage = 'active' ORDER BY r.start_time, r.run_uuid"
    )
    for id, experiment, title, status, *times in found:
        try:
            params, tags = (_pairs(database, table, id) for table in ("params", "tags"))
            yield _make(
                path.resolve(),
                str(id),
                str(experiment),
                title,
                status,
                (times[0], times[1]),
                params={key: typed(value) for key, value in params.items()},
                curves=_curves(database, id),
                tags=tags,
            )
        except (DataError, TypeError, ValueError) as error:
            yield DataError(f"{path}: the run {str(id)[:40]} cannot be read ({error}).")


def _pairs(database: sqlite3.Connection, table: str, id: str) -> Mapping[str, str]:
    rows = database.execute(f"SELECT key, value FROM {table} WHERE run_uuid = ? ORDER BY key", (id,))
    return {str(key): str(value) for key, value in rows}


def _curves(database: sqlite3.Connection, id: str) -> Curves:
    """The curves of a run. MLflow stores NaN as 0 with a mark, and infinity as the largest number."""
    curves = Curves()
    for key, step, time, value, is_nan in database.execute(
        "SELECT key, step, timestamp, value, is_nan FROM metrics WHERE run_uuid = ? ORDER BY key, step, timestamp, value",
        (id,),
    ):
        finite = abs(value) < sys.float_info.max
        curves.add(
            str(key),
            int(step),
            time / 1000,
            math.nan if is_nan else value if finite else math.copysign(math.inf, value),
        )
    return curves
