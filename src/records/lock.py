"""Locks of runs: at most one process writes to a run, and others can tell whether it is alive."""

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
# Some network file systems know no locks; there the record's word has to do.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
# The ranks of a killed command hold its lock until they notice, and by then they are gone.
_PATIENCE_S = 30.0


def owner() -> dict[str, Any]:
    """This process, so that another can tell later whether it is still there.

    Returns:
        ``host``, ``pid``, ``pid_started`` (seconds since 1970) and ``pid_namespace``, without which a pid says nothing:
        containers on one machine may share its name and count their processes each from 1.
    """
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "pid_started": psutil.Process().create_time(),
        "pid_namespace": _pid_namespace(),
    }


@cache
def _pid_namespace() -> str | None:
    """The running kernel and the namespace within which pids are unique; None where the system has no namespaces."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def is_alive(environment: Mapping[str, Any]) -> bool | None:
    """Whether the process that ``owner`` described still runs; None where this process cannot know."""
    here = (socket.gethostname(), _pid_namespace())
    if (environment.get("host"), environment.get("pid_namespace")) != here or "pid_started" not in environment:
        return None
    try:
        process = psutil.Process(environment["pid"])
        # The number may have been given to another process since.
        same = abs(process.create_time() - environment["pid_started"]) < 1
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return None


def is_locked(directory: Path) -> bool | None:
    """Whether a process works on a run. Its lock tells, through containers and from any machine that shares the files.

    Returns:
        None where the lock cannot be asked: on a file system without locks, or where it may not be read.
    """
    try:
        with (directory / _LOCK).open("rb") as file:
            # Shared, so that any number of processes may ask at once; who starts to work meanwhile tries again.
            fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:  # it is made before the record is
        return False
    except OSError:
        return None
    return False


@contextmanager
def owned(directory: Path, patience: float = _PATIENCE_S) -> Iterator[None]:
    """Work on a run as the only one; the system itself ends this when the process ends, however it does.

    Args:
        directory: the run's.
        patience: seconds to wait for another process to release it.

    Raises:
        UserError: another process is using that directory, or it is not writable.
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
    """Hold a lock file for a short operation."""
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
