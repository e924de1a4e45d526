"""``rm``, ``restore`` and ``gc``: runs put aside, and disk space freed.

The trash holds an archive for each run, outputs/trash/<id>.tar, so that TensorBoard over outputs/ does not show what was
thrown away.
"""

import os
import re
import shutil
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from src.errors import RunNotFound, UserError, suggest
from src.files import replacing
from src.paths import OUTPUTS
from src.tracking.ownership import owned
from src.tracking.record import Record
from src.tracking.settings import metrics_of

TRASH = OUTPUTS / "trash"
# A run that bears this tag stays.
PINNED = "pinned"
_LEFT = ".removing-"
# What lies in an archive: a single run, or a job of a sweep.
_IN_PLACE = re.compile(r"(runs/[^/]+|sweeps/[^/]+/[^/]+)(/.*)?")


def put_aside(record: Record) -> Path:
    """Move a run to the trash.

    Returns:
        The archive.

    Raises:
        UserError: the run is pinned or running, or the trash cannot be written.
    """
    run = record.values
    if PINNED in run["tags"]:
        raise UserError(f"{run['id']} is pinned: python -m src.runs tag {run['id']} --remove {PINNED} lets it go.")
    if record.status == "running" and not record.is_abandoned:
        raise UserError(f"{run['id']} is still running: stop it first.")
    archive = TRASH / f"{run['id']}.tar"
    try:
        TRASH.mkdir(parents=True, exist_ok=True)
        with owned(record.directory):
            with replacing(archive) as file, tarfile.open(fileobj=file, mode="w") as tar:
                tar.add(record.directory, arcname=str(_place(record)))
            _delete(record.directory)
    except OSError as error:
        raise UserError(f"{run['id']} cannot be put into {TRASH} ({error.strerror}); it stays where it is.") from None
    return archive


def _place(record: Record) -> Path:
    """Where it lies below outputs/; a run from elsewhere is put back among the single ones."""
    if record.directory.is_relative_to(OUTPUTS):
        return record.directory.relative_to(OUTPUTS)
    return Path("runs", record.directory.name)


def _delete(directory: Path) -> None:
    """Out of sight at once, then gone."""
    TRASH.mkdir(parents=True, exist_ok=True)
    aside = TRASH / f"{_LEFT}{directory.parent.name}-{directory.name}"
    if directory.stat().st_dev == TRASH.stat().st_dev:
        os.rename(directory, aside)
    else:
        aside = directory
    shutil.rmtree(aside)


def restore(id: str) -> Path:
    """Take a run out of the trash.

    Returns:
        Its directory.

    Raises:
        UserError: it is not there, is no archive of a run, or its place is taken.
    """
    archives = {path.stem: path for path in TRASH.glob("*.tar")}
    found = [name for name in archives if name == id] or [name for name in archives if name.startswith(id)]
    if len(found) != 1:
        raise RunNotFound(f"{id}: {len(found) or 'no'} runs in the trash go by that{suggest(id, archives)}")
    archive = archives[found[0]]
    try:
        with tarfile.open(archive) as tar:
            names = tar.getnames()
            if not names or not all(_IN_PLACE.fullmatch(name) for name in names):
                raise UserError(f"{archive} is not an archive of a run.")
            place = OUTPUTS / names[0]
            if place.exists():
                raise UserError(f"{place} is there already: remove it, or leave {found[0]} in the trash.")
            tar.extractall(OUTPUTS, filter="data")
    except tarfile.TarError as error:
        raise UserError(f"{archive} is not an archive of a run ({error}).") from None
    except OSError as error:
        raise UserError(f"{found[0]} cannot be taken out of the trash ({error.strerror}).") from None
    archive.unlink()
    return place


@dataclass(frozen=True)
class Item:
    """Something that can be freed.

    Attributes:
        what: a run's id, or what it is.
        path: of the file or directory.
        size: bytes.
    """

    what: str
    path: Path
    size: int


def garbage(chosen: Sequence[Record], records: Sequence[Record]) -> tuple[list[Item], list[str]]:
    """What gc would free: the trash, and the chosen runs but for those that stay.

    Args:
        chosen: runs that may go.
        records: all runs, among which the best of each sweep is looked for.

    Returns:
        What goes, and a sentence for each chosen run that stays.
    """
    items = [Item(f"{path.stem} (in the trash)", path, _size(path)) for path in sorted(TRASH.glob("*.tar"))]
    items += [Item("half removed", path, _size(path)) for path in sorted(TRASH.glob(f"{_LEFT}*"))]
    winners, stay = _winners(records), []
    for record in chosen:
        run = record.values
        if PINNED in run["tags"]:
            stay.append(f"{run['id']} stays: it is pinned.")
        elif run["id"] in winners:
            stay.append(f"{run['id']} stays: it is the best of its sweep.")
        elif record.status == "running" and not record.is_abandoned:
            stay.append(f"{run['id']} stays: it is running.")
        else:
            items.append(Item(run["id"], record.directory, _size(record.directory)))
    return items, stay


def free(items: Sequence[Item]) -> None:
    """Delete them for good.

    Raises:
        UserError: one of them cannot be deleted.
    """
    for item in items:
        try:
            if item.path.is_dir() and not item.path.name.startswith(_LEFT):
                with owned(item.path):
                    _delete(item.path)
            elif item.path.is_dir():
                shutil.rmtree(item.path)
            else:
                item.path.unlink()
        except OSError as error:
            raise UserError(f"{item.path} cannot be deleted ({error.strerror}).") from None


def _winners(records: Sequence[Record]) -> set[str]:
    """The best finished run of each sweep."""
    winners: dict[str, tuple[float, str]] = {}
    for record in records:
        run = record.values
        metric = run["best"]["metric"]
        value = metrics_of(record).get(metric)
        if run["sweep"] is None or run["status"] != "done" or value is None:
            continue
        rank = -value if run["config"].get("mode") == "min" else value
        winners[run["sweep"]] = max(winners.get(run["sweep"], (rank, run["id"])), (rank, run["id"]))
    return {id for _, id in winners.values()}


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if not file.is_dir())
