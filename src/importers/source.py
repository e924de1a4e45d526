"""A run as read from the files of another program, before it becomes a record."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from src.errors import DataError
from src.views.scalars import Point

# Limits of what is read: points of a run, bytes of a file of curves, bytes of any other file, characters of a name or a tag.
_POINTS, CURVE_BYTES, TEXT_BYTES, _NAME = 2_000_000, 64 << 20, 1 << 20, 500
_STEPS = range(-(1 << 63), 1 << 63)


class Curves(dict[str, list[Point]]):
    """Curves of one run by tag."""

    _count = 0

    def add(self, tag: str, step: int, wall_time: float, value: float) -> None:
        """Append a point.

        Raises:
            DataError: the run has too many points, or the tag or the step is invalid.
        """
        self._count += 1
        if self._count > _POINTS:
            raise DataError(f"more than {_POINTS:,} points")
        if step not in _STEPS or len(tag) > _NAME:
            raise DataError(f"a point of {tag[:40]!r} at step {str(step)[:20]}")
        self.setdefault(tag, []).append(Point(step, wall_time, value))


@dataclass(frozen=True)
class SourceRun:
    """A run of another program."""

    kind: str  # mlflow or tensorboard
    store: Path  # the database, the directory of the MLflow store, or the directory that contains the run's event files
    experiment: str
    id: str  # within the store
    key: str  # identifies the run, also after the store was moved
    name: str
    status: str  # a status of a record
    started: float  # seconds since 1970
    ended: float | None  # the same; None: the time of the last point
    params: Mapping[str, Any]
    curves: Mapping[str, list[Point]]
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def changed(self) -> float:
        """Time of the last change that the run has logged, in seconds since 1970."""
        last = (points[-1].wall_time for points in self.curves.values())
        return max([self.started, *last] if self.ended is None else [self.ended])


def read_text(path: Path, limit: int = TEXT_BYTES) -> str:
    """Read a text file of a source.

    Raises:
        DataError: it cannot be read, is larger than ``limit`` bytes, or is a link or a special file.
    """
    try:
        if path.is_symlink() or not path.is_file():
            raise DataError(f"{path} is not a regular file.")
        if (size := path.stat().st_size) > limit:
            raise DataError(f"{path} has {size:,} bytes; at most {limit:,} are read.")
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}).") from None
