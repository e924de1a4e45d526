"""Locks of runs: at most one process writes to a run, and others can check whether it is alive."""

import errno
import fcntl
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from src.errors import UserError
from src.files import is_full

_LOCK = ".lock"
# Some network file systems do not support locks; there only the record is used.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
# The ranks of a killed command hold its lock until they detect its end; they have exited by this time.
_PATIENCE_S = 30.0


def owner() -> dict[str, Any]:
    """Identify this process, so that another process can check later whether it is alive.

    Returns:
        ``host``, ``pid``, ``pid_started`` (seconds since 1970) and ``pid_namespace``, without which a PID is ambiguous:
        containers on one machine may share its host name and each number their processes from 1.
    """
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "pid_started": psutil.Process().create_time(),
        "pid_namespace": _pid_namespace(),
    }


@cache
def _pid_namespace() -> str | None:
    """The running kernel and the namespace in which PIDs are unique; None on systems without namespaces."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def is_alive(environment: Mapping[str, Any]) -> bool | None:
    """Whether the process described by ``owner`` is alive; None if it cannot be determined from this process."""
    here = (socket.gethostname(), _pid_namespace())
    if (environment.get("host"), environment.get("pid_namespace")) != here or "pid_started" not in environment:
        return None
    try:
        process = psutil.Process(environment["pid"])
        # The PID may have been reused by another process.
        same = abs(process.create_time() - environment["pid_started"]) < 1
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return None


def is_locked(directory: Path) -> bool | None:
    """Whether a process holds the lock of a run, in any container and on any machine that shares the files.

    Returns:
        None if it cannot be determined: on a file system without locks, or without permission to read the lock.
    """
    try:
        with (directory / _LOCK).open("rb") as file:
            # A shared lock, so that any number of processes can check at once; a process that acquires the lock retries.
            fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:  # the lock file is created before the record
        return False
    except OSError:
        return None
    return False


@contextmanager
def owned(directory: Path, patience: float = _PATIENCE_S) -> Iterator[None]:
    """Context that holds the lock of a run; the operating system releases it when the process ends for any reason.

    Args:
        directory: the run's directory.
        patience: seconds to wait for another process to release it.

    Raises:
        UserError: another process holds the lock, or the directory is not writable.
    """
    try:
        file = (directory / _LOCK).open("w")
    except OSError as error:
        if is_full(error):
            raise
        raise UserError(
            f"{directory} cannot be written ({error.strerror}): work on a copy of your own, or ask its owner."
        ) from None
    with file:
        until = time.monotonic() + patience
        while not _lock(file.fileno(), fcntl.LOCK_NB):
            if time.monotonic() > until:
                raise UserError(f"{directory} is in use: another command is working on that run; wait until it ends.")
            time.sleep(0.1)
        yield


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Context that holds a lock file for a short operation."""
    with lock.open("w") as file:
        _lock(file.fileno())
        yield


def _lock(descriptor: int, flags: int = 0) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | flags)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True
