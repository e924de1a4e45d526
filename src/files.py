"""Files that are whole at every moment: written beside their place, synced, then renamed into it."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

# What the system says when there is no room: on the disk, in the user's share of it, or under a limit on file sizes.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def is_full(error: OSError) -> bool:
    """Whether a write failed for want of room."""
    return error.errno in _FULL


def describe(error: OSError) -> str:
    """What the system refused, and for which file, in a sentence."""
    if is_full(error):
        return f"the disk is full ({error.strerror}): free some space."
    reason = error.strerror or str(error) or type(error).__name__
    if not error.filename:
        return f"{reason}."
    path = Path(os.fsdecode(error.filename))
    # A lock, or a file that is not whole yet: what is meant is where it lies.
    return f"{path.parent if path.name.startswith('.') else path}: {reason}."


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file beside ``path`` that takes its place once the block is done; if the block raises, it vanishes.

    At any moment ``path`` is either the old file or the new one, even if the process is killed or the power fails.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        _sync_directory(path.parent)
    finally:
        part.unlink(missing_ok=True)


def write(path: Path, text: str) -> None:
    """Write a text file as ``replacing`` does."""
    with replacing(path) as file:
        file.write(text.encode())


def sweep_up(directory: Path) -> None:
    """Remove what a killed process has left half-written in ``directory``; for its owner only."""
    for part in directory.glob(".*.part"):
        part.unlink(missing_ok=True)


def _sync_directory(directory: Path) -> None:
    """Make a renaming last; the new name is an entry of the directory, not of the file."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
