"""Verification and atomic unpacking of IDX archives.

torchvision unpacks in place and then trusts any existing file, so that a process killed while unpacking, or several that
start at the same time, can leave a truncated file. Here a file is unpacked under a temporary name, synced and renamed.
"""

import gzip
import hashlib
import math
import os
import shutil
import struct
from collections.abc import Iterable
from pathlib import Path

from src.errors import DataError
from src.files import replacing

# Bytes of a value, by the third byte of an IDX file's header.
_BYTES = {0x08: 1, 0x09: 1, 0x0B: 2, 0x0C: 4, 0x0D: 4, 0x0E: 8}


def unpack(folder: Path, archives: Iterable[tuple[str, str]]) -> None:
    """Unpack archives into their directory, unless they are already unpacked completely. Safe in concurrent processes.

    Args:
        folder: where the archives are.
        archives: name (``x.gz``) and MD5 of each, as torchvision's data sets list them.

    Raises:
        DataError: a file is missing or damaged, or the folder cannot be written.
    """
    for name, md5 in archives:
        archive = folder / name
        unpacked = archive.with_suffix("")
        try:
            if not _is_whole(unpacked, archive):
                _check(archive, md5)
                _unpack_one(archive, unpacked)
        except OSError as error:
            raise DataError(
                f"{archive} cannot be unpacked ({error.strerror}): make {folder} writable, with enough free space."
            ) from error


def _check(archive: Path, md5: str) -> None:
    if not archive.exists():
        raise DataError(
            f"{archive} is missing: put the original file there, or set data.dir to the folder above MNIST/."
        )
    found = hashlib.md5(archive.read_bytes()).hexdigest()
    if found != md5:
        raise DataError(f"{archive} is damaged: its MD5 is {found}, not {md5}; put the original file in its place.")


def _is_whole(path: Path, archive: Path) -> bool:
    """Whether the length of an IDX file matches its header and, if available, its archive."""
    try:
        with path.open("rb") as file:
            _, kind, dimensions = struct.unpack(">2sBB", file.read(4))
            shape = struct.unpack(f">{dimensions}I", file.read(4 * dimensions))
    except (FileNotFoundError, struct.error):
        return False
    lengths = {path.stat().st_size, 4 + 4 * dimensions + _BYTES.get(kind, 0) * math.prod(shape)}
    if archive.is_file() and archive.stat().st_size > 4:
        with archive.open("rb") as file:
            file.seek(-4, os.SEEK_END)  # RFC 1952: the last four bytes are the length unpacked
            lengths |= set(struct.unpack("<I", file.read(4)))
    return len(lengths) == 1


def _unpack_one(archive: Path, unpacked: Path) -> None:
    with replacing(unpacked) as part, gzip.open(archive) as packed:
        shutil.copyfileobj(packed, part, 1 << 20)
