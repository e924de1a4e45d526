"""Atomic writes: files are written under a temporary name in the same directory, synced, then renamed."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

# Errors for lack of space: on the disk, within the user's quota, or under a limit on file sizes.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def is_full(error: OSError) -> bool:
    """Whether a write failed for lack of space."""
    return error.errno in _FULL


def describe(error: OSError) -> str:
    """Describe an OSError and the file concerned in one line."""
    if is_full(error):
        return f"the disk is full ({error.strerror}): free some space."
    reason = error.strerror or str(error) or type(error).__name__
    if not error.filename:
        return f"{reason}."
    path = Path(os.fsdecode(error.filename))
    # For a lock or a temporary file, name its directory.
    return f"{path.parent if path.name.startswith('.') else path}: {reason}."


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces ``path`` at the end of the block, or is removed if the block raises.

    At any time ``path`` is either the old file or the new one, even if the process is killed or the power fails.
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
    """Write a text file atomically, see ``replacing``."""
    with replacing(path) as file:
        file.write(text.encode())


def sweep_up(directory: Path) -> None:
    """Remove temporary files that a killed process left in ``directory``; only for the process that owns it."""
    for part in directory.glob(".*.part"):
        part.unlink(missing_ok=True)


def _sync_directory(directory: Path) -> None:
    """Sync a directory, to make a rename in it durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
