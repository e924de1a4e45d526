"""Trash for runs, and freeing of disk space: ``rm``, ``restore`` and ``gc``.

The trash contains an archive for each run, outputs/trash/<id>.tar, so that TensorBoard over outputs/ does not show removed
runs. A second run of the same id, from a copied directory, gets the archive <id>.2.tar.
"""

import itertools
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from src.errors import RunNotFound, UserError
from src.files import replacing
from src.paths import outputs_dir
from src.records.baseline import pinned_id
from src.records.find import at_home, choose, labels
from src.records.lock import owned
from src.records.record import RECORD, Record
from src.records.settings import data_of
from src.records.summary import Summary, summary

# Runs with this tag are never deleted.
PINNED = "pinned"
_LEFT = ".removing-"
# Contents of an archive: a single run, or a job of a sweep.
_IN_PLACE = re.compile(r"(runs/[^/]+|sweeps/[^/]+/[^/]+)(/.*)?")


def trash_dir() -> Path:
    """The directory of the archives."""
    return outputs_dir() / "trash"


def put_aside(record: Record) -> Path:
    """Move a run to the trash.

    Returns:
        The archive.

    Raises:
        UserError: the run is pinned, the baseline or running; or the trash or the run's folder cannot be written.
    """
    run = record.values
    if PINNED in run["tags"]:
        raise UserError(f"{run['id']} is pinned: python -m src.runs tag {run['id']} --remove {PINNED} lets it go.")
    if run["id"] == pinned_id():
        raise UserError(f"{run['id']} is the baseline: python -m src.runs baseline none unpins it.")
    if record.is_busy:
        raise UserError(f"{run['id']} is still running: stop it first.")
    try:
        with owned(record.directory):
            archive = _archive(record)
            try:
                aside = _out_of_sight(record.directory)
            except OSError:
                archive.unlink()
                raise
            try:
                _delete(aside, record.directory)
            except OSError as error:
                text = f"{run['id']} is in the trash, but {error.filename} cannot be deleted ({error.strerror})."
                raise UserError(text) from None
    except OSError as error:
        raise UserError(
            f"{run['id']} cannot be put into {trash_dir()} ({error.strerror}); it stays where it is."
        ) from None
    return archive


def _archive(record: Record) -> Path:
    """Write the archive of a run under a unique name."""
    trash_dir().mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        archive = trash_dir() / f"{record.values['id']}{'' if number == 1 else f'.{number}'}.tar"
        try:
            archive.touch(exist_ok=False)
            break
        except FileExistsError:
            continue
    try:
        with replacing(archive) as file, tarfile.open(fileobj=file, mode="w") as tar:
            tar.add(record.directory.resolve(), arcname=str(_place(record)))
    except BaseException:
        archive.unlink()
        raise
    return archive


def _place(record: Record) -> Path:
    """Path of a run relative to outputs/; a run from elsewhere is restored as a single run."""
    outputs = outputs_dir()
    home = record.directory if record.directory.is_relative_to(outputs) else at_home(record.directory)
    return home.relative_to(outputs) if home.is_relative_to(outputs) else Path("runs", home.name)


def _out_of_sight(directory: Path) -> Path:
    """Atomically move a directory to the trash; returns its new path. On another file system it is not moved."""
    trash_dir().mkdir(parents=True, exist_ok=True)
    real = directory.resolve()
    if real.stat().st_dev == trash_dir().stat().st_dev:
        aside = Path(tempfile.mkdtemp(prefix=f"{_LEFT}{real.name}-", dir=trash_dir()))
        try:
            os.rename(real, aside)
        except OSError:
            aside.rmdir()
            raise
        return aside
    return real


def _delete(aside: Path, directory: Path) -> None:
    """Delete the directory returned by ``_out_of_sight``, and the symbolic link to it, if there was one."""
    shutil.rmtree(aside)
    if directory.is_symlink():
        directory.unlink()


def restore(word: str) -> Path:
    """Restore a run from the trash.

    Args:
        word: the name of its archive, or an argument that selected the run before.

    Returns:
        The run's directory.

    Raises:
        UserError: the trash contains no such run, the archive is not one of a run, or the directory exists.
    """
    archive = trash_dir() / f"{word}.tar"
    if archive not in trash_dir().glob("*.tar"):
        archive = _find_archive(word)
    name = _place_in(archive)
    place = outputs_dir() / name
    if os.path.lexists(place):
        raise UserError(f"{place} is there already: remove it, or leave {archive.stem} in the trash.")
    try:
        # Extracted to a temporary directory, so that the run appears atomically, also if its parent is a symbolic link.
        with tarfile.open(archive) as tar, tempfile.TemporaryDirectory(prefix=_LEFT, dir=trash_dir()) as aside:
            tar.extractall(aside, filter="data")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(Path(aside, name), place)
        archive.unlink()
    except (OSError, tarfile.TarError) as error:
        shutil.rmtree(place, ignore_errors=True)  # the archive contains all of it
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{archive.stem} cannot be taken out of the trash ({reason}); it stays there.") from None
    return place


def _find_archive(word: str) -> Path:
    """The archive of the run in the trash that matches ``word``, as in ``find``."""
    archives: dict[Path, Record] = {}
    for archive in sorted(trash_dir().glob("*.tar")):
        try:
            place = _place_in(archive)
            with tarfile.open(archive) as tar:
                content = tar.extractfile(f"{place}/{RECORD}")
                archives[archive] = Record.parse(outputs_dir() / place, content.read() if content else b"")
        except (UserError, KeyError, ValueError):  # not the archive of a run
            continue
    there = at_home(Path(word))
    lay_there = [archive for archive, record in archives.items() if record.directory == there]
    if len(lay_there) == 1:
        return lay_there[0]
    if lay_there:
        raise RunNotFound(f"{word}: {len(lay_there)} runs lay there: {', '.join(path.stem for path in lay_there)}.")
    found = choose(word, sorted(archives.values(), key=lambda record: record.started), only=True, place=" in the trash")
    return next(archive for archive, record in archives.items() if record is found)


def _place_in(archive: Path) -> str:
    """Original path of an archived run, relative to outputs/.

    Raises:
        UserError: the file is not an archive of a run.
    """
    try:
        with tarfile.open(archive) as tar:
            names = tar.getnames()
    except (OSError, tarfile.TarError) as error:
        raise UserError(f"{archive} is not an archive of a run ({error}).") from None
    if not names or not all(_IN_PLACE.fullmatch(name) for name in names):
        raise UserError(f"{archive} is not an archive of a run.")
    return names[0]


@dataclass(frozen=True)
class Item:
    """A file or directory that can be deleted.

    Attributes:
        what: the id of a run, or a description.
        path: path of the file or directory.
        size: size in bytes.
    """

    what: str
    path: Path
    size: int


def garbage(chosen: Sequence[Record], records: Sequence[Record]) -> tuple[list[Item], list[str]]:
    """The items that ``gc`` would delete: the trash, and the chosen runs except those that must be kept.

    Args:
        chosen: the runs to delete.
        records: all runs, to determine the best run of each sweep, which is kept.

    Returns:
        The items to delete, and a message for each chosen run that is kept.
    """
    items = [Item(f"{path.stem} (in the trash)", path, _size(path)) for path in sorted(trash_dir().glob("*.tar"))]
    items += [Item("half removed", path, _size(path)) for path in sorted(trash_dir().glob(f"{_LEFT}*"))]
    winners, baseline, stay = _winners(records), pinned_id(), []
    for record, label in zip(chosen, labels(chosen), strict=True):
        run = record.values
        if PINNED in run["tags"]:
            stay.append(f"{label} stays: it is pinned.")
        elif run["id"] == baseline:
            stay.append(f"{label} stays: it is the baseline.")
        elif run["id"] in winners:
            stay.append(f"{label} stays: it is the best of its sweep.")
        elif record.is_busy:
            stay.append(f"{label} stays: it is running.")
        else:
            items.append(Item(label, record.directory, _size(record.directory)))
    return items, stay


def free(item: Item) -> None:
    """Delete an item permanently.

    Raises:
        UserError: the item cannot be deleted.
    """
    try:
        if item.path.is_dir() and not item.path.name.startswith(_LEFT):
            with owned(item.path):
                _delete(_out_of_sight(item.path), item.path)
        elif item.path.is_dir():
            shutil.rmtree(item.path)
        else:
            item.path.unlink()
    except OSError as error:
        raise UserError(f"{item.path} cannot be deleted ({error.strerror}).") from None


def _winners(records: Sequence[Record]) -> set[str]:
    """The best finished run of each sweep on each of its data sets."""
    winners: dict[tuple[str, str], Summary] = {}
    for record in records:
        run = summary(record)
        if run.sweep is None or not record.is_finished or run.best is None:
            continue
        key = (run.sweep, data_of(record))
        winners[key] = min(run, winners.get(key, run), key=lambda one: one.rank)
    return {run.id for run in winners.values()}


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if not file.is_dir())
