"""Who is working on a run: at most one command, on one machine, and whether it is still alive."""

import errno
import fcntl
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from src.errors import UserError

_LOCK = ".lock"
# Some network file systems know no locks; there the record's word has to do.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
# The ranks of a killed command hold its lock until they notice, and by then they are gone.
_PATIENCE_S = 30.0


def owner() -> dict[str, Any]:
    """This process, so that another can tell later whether it is still there: host, pid and when it began."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "pid_started": psutil.Process().create_time()}


def is_gone(environment: Mapping[str, Any]) -> bool:
    """Whether the process that ``owner`` described has ended; False where this machine cannot know."""
    if environment.get("host") != socket.gethostname() or "pid_started" not in environment:
        return False
    try:
        process = psutil.Process(environment["pid"])
        # The number may have been given to another process since.
        same = abs(process.create_time() - environment["pid_started"]) < 1
        return not same or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False


@contextmanager
def owned(directory: Path) -> Iterator[None]:
    """Work on a run as the only one; the system itself ends this when the process ends, however it does.

    Raises:
        UserError: another command is at work in that directory.
    """
    with (directory / _LOCK).open("w") as file:
        until = time.monotonic() + _PATIENCE_S
        while not _lock(file.fileno(), fcntl.LOCK_NB):
            if time.monotonic() > until:
                raise UserError(f"{directory} is in use: another command is working on that run; wait until it ends.")
            time.sleep(0.1)
        yield


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Do something short while no other process does it that goes by the same lock file."""
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
