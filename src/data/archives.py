"""IDX archives: check them, and unpack them so that no reader ever sees half a file.

torchvision unpacks in place and then trusts any file that exists; a process killed while unpacking, or eight that
start at once, leave it a truncated file for ever. Here a file is unpacked under a name of its own, synced and renamed.
"""

import gzip
import hashlib
import os
import shutil
import struct
import tempfile
from collections.abc import Iterable
from pathlib import Path

from src.errors import DataError


def unpack(folder: Path, archives: Iterable[tuple[str, str]]) -> None:
    """See to it that each archive lies unpacked and whole beside itself. Any number of processes may do so at once.

    Args:
        folder: where the archives are.
        archives: name (``x.gz``) and MD5 of each, as torchvision's data sets list them.

    Raises:
        DataError: a file is missing or damaged, or the folder cannot be written.
    """
    for name, md5 in archives:
        archive, unpacked = folder / name, folder / name.removesuffix(".gz")
        if _is_whole(unpacked):
            continue
        if not archive.exists():
            raise DataError(
                f"{archive} is missing: put the original file there, or set data.dir to the folder above it."
            )
        found = hashlib.md5(archive.read_bytes()).hexdigest()
        if found != md5:
            raise DataError(f"{archive} is damaged: its MD5 is {found}, not {md5}; put the original file in its place.")
        _unpack_one(archive, unpacked)


def _is_whole(path: Path) -> bool:
    """Whether an IDX file is as long as its header says."""
    try:
        with path.open("rb") as file:
            zeros, _kind, dimensions = struct.unpack(">HBB", file.read(4))
            shape = struct.unpack(f">{dimensions}I", file.read(4 * dimensions))
    except (FileNotFoundError, struct.error):
        return False
    size = 1
    for length in shape:
        size *= length
    return zeros == 0 and path.stat().st_size == 4 + 4 * dimensions + size  # one byte a value in all of these sets


def _unpack_one(archive: Path, unpacked: Path) -> None:
    try:
        with tempfile.NamedTemporaryFile(dir=archive.parent, prefix=f".{unpacked.name}.", delete=False) as part:
            try:
                with gzip.open(archive) as packed:
                    shutil.copyfileobj(packed, part, 1 << 20)
                part.flush()
                os.fsync(part.fileno())
                os.chmod(part.name, 0o644)
                os.replace(part.name, unpacked)
            except BaseException:
                Path(part.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise DataError(
            f"{archive} cannot be unpacked beside itself ({error.strerror}): free some space, or make {archive.parent} "
            "writable."
        ) from error
