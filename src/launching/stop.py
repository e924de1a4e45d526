"""What SIGTERM, SIGINT (Ctrl-C), SIGHUP and SIGUSR1 do in a process that has nothing to save. Imports no torch."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import psutil

from src.errors import Interrupted

# SIGHUP comes when the terminal is closed, SIGUSR1 is what SLURM is asked to send ahead of a time limit (#SBATCH
# --signal=USR1@120). What was ignored when this process started, as SIGHUP is under nohup, stays ignored.
STOP = tuple(
    signum
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
    if signal.getsignal(signum) != signal.SIG_IGN
)


_received = 0


def received() -> int:
    """The signal that this process was told to stop by, or 0.

    An exception raised from a signal handler can strike in the middle of a library that turns it into another, so who
    handles an error asks here first.
    """
    return _received


def note(signum: int, frame: FrameType | None = None) -> None:
    """Remember that this process was told to stop."""
    global _received
    _received = signum


def raise_on_stop() -> None:
    """From now on each raises ``Interrupted`` at once."""

    def handler(signum: int, frame: FrameType | None) -> None:
        note(signum)
        raise Interrupted(signum)

    for signum in STOP:
        signal.signal(signum, handler)


def end_on_stop() -> None:
    """From now on each ends the process at once and without a word: everything is saved, and the interpreter exits."""
    for signum in STOP:
        signal.signal(signum, signal.SIG_DFL)


def only_note_stop() -> None:
    """From now on each is noted, for ``received``, and nothing else happens."""
    for signum in STOP:
        signal.signal(signum, note)


def pass_on_stop() -> None:
    """From now on each is noted and passed on to the processes that this one has started."""

    def handler(signum: int, frame: FrameType | None) -> None:
        note(signum)
        for child in psutil.Process().children():
            with suppress(psutil.Error):
                child.send_signal(signum)

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
