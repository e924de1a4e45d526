"""Worker processes for the jobs of a sweep on this machine: forked from one with all imports, one for each job."""

import sys
import time
from collections.abc import Callable
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

from src.launching.processes import GRACE_S
from src.launching.stop import received

# Polling interval while waiting for a job, in seconds.
_LOOK_EVERY_S = 0.5


class Ended(NamedTuple):
    """The process of a job that has ended.

    Attributes:
        job: the number of the job.
        pid: process ID.
        status: its exit status; the negative signal number if a signal killed it.
    """

    job: int
    pid: int
    status: int


class Workers:
    """Runs at most ``count`` worker processes in parallel.

    The process that starts them must not have computed with several threads: a forked process would wait forever for threads
    that were not copied. Workers receive SIGINT when this process ends for any reason.

    Args:
        count: maximum number of parallel jobs.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.running: dict[int, BaseProcess] = {}
        self._until: float | None = None  # set once a signal has stopped this process

    @property
    def is_free(self) -> bool:
        """Whether another job may start."""
        return len(self.running) < self.count

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        """After an error in this process, signal running jobs to save and end."""
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            process.join(2 * GRACE_S)
            process.kill()

    def start(self, job: int, train: Callable[..., None], *args: Any) -> None:
        """Call a function in a new process.

        Args:
            job: number of the job.
            train: the function; pickled if processes cannot be forked, as on macOS.
            args: its arguments.
        """
        from torch.multiprocessing.spawn import start_processes  # which ends the worker with this process

        method = "fork" if sys.platform == "linux" else "spawn"
        context: Any = start_processes(_call, (train, *args), nprocs=1, join=False, start_method=method)
        [self.running[job]] = context.processes

    def wait(self) -> list[Ended]:
        """Wait until a job has ended, or for half a second; returns those that have ended.

        Signals that stop this process are passed on to the jobs. Jobs that do not end within a time limit are killed.
        """
        connection.wait([process.sentinel for process in self.running.values()], _LOOK_EVERY_S)
        if received() and self._until is None:
            self._until = time.monotonic() + 2 * GRACE_S  # a job waits for its own processes
        if self._until is not None and time.monotonic() > self._until:
            for process in self.running.values():
                process.kill()
        ended = [
            Ended(job, process.pid or 0, process.exitcode)
            for job, process in self.running.items()
            if process.exitcode is not None
        ]
        for one in ended:
            del self.running[one.job]
        return ended


def _call(index: int, train: Callable[..., None], *args: Any) -> None:
    train(*args)
