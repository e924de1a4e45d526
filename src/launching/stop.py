"""What SIGTERM, Ctrl-C and SIGUSR1 do in a process that has nothing to save. Imports no torch."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from src.errors import Interrupted

# SIGUSR1 is what SLURM is asked to send ahead of a time limit (#SBATCH --signal=USR1@120).
STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


_received = 0


def received() -> int:
    """The signal that this process was told to stop by, or 0.

    An exception raised from a signal handler can strike in the middle of a library that turns it into another, so who
    handles an error asks here first.
    """
    return _received


def raise_on_stop() -> None:
    """From now on each raises ``Interrupted`` at once."""

    def handler(signum: int, frame: FrameType | None) -> None:
        global _received
        _received = signum
        raise Interrupted(signum)

    for signum in STOP:
        signal.signal(signum, handler)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Ignore them for the moment that a record takes to be written."""
    before = {signum: signal.signal(signum, signal.SIG_IGN) for signum in STOP}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
