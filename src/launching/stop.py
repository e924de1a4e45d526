"""Handling of SIGTERM, SIGINT (Ctrl-C), SIGHUP and SIGUSR1 in a process that has nothing to save. Imports no torch."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import psutil

from src.errors import Interrupted

# SIGHUP is sent when the terminal is closed, SIGUSR1 by SLURM before a time limit (#SBATCH --signal=USR1@120). Signals that
# were ignored when this process started, as SIGHUP under nohup, remain ignored.
STOP = tuple(
    signum
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
    if signal.getsignal(signum) != signal.SIG_IGN
)


class _StopHandler:
    """Signal handler that stores the received signal, so that installed handlers are the only state.

    Args:
        act: called with the signal.
    """

    def __init__(self, act: Callable[[int], None]) -> None:
        self.act, self.received = act, 0

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        self.received = signum
        self.act(signum)

    def install(self) -> None:
        """Replace the current handler, and keep the signal that it has received."""
        for signum in signals():
            before = signal.signal(signum, self)
            if isinstance(before, _StopHandler) and before.received:
                self.received = before.received


def signals() -> tuple[signal.Signals, ...]:
    """The signals to handle in this thread; none outside the main thread, where Python cannot install handlers."""
    return STOP if threading.current_thread() is threading.main_thread() else ()


def received() -> int:
    """The signal received by this process, or 0.

    A library may convert an exception raised from a signal handler into another one, so error handlers check this first.
    """
    handlers = (signal.getsignal(signum) for signum in STOP)
    return max((handler.received for handler in handlers if isinstance(handler, _StopHandler)), default=0)


def _raise(signum: int) -> None:
    raise Interrupted(signum)


def _pass_on(signum: int) -> None:
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            child.send_signal(signum)


def raise_on_stop() -> None:
    """Raise ``Interrupted`` immediately upon each signal."""
    _StopHandler(_raise).install()


def only_note_stop() -> None:
    """Only store each signal, for ``received``."""
    _StopHandler(lambda signum: None).install()


def pass_on_stop() -> None:
    """Store each signal and forward it to the child processes."""
    _StopHandler(_pass_on).install()


def end_on_stop() -> None:
    """Exit immediately and silently upon each signal: everything is saved, and the interpreter is shutting down."""
    for signum in signals():
        signal.signal(signum, signal.SIG_DFL)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Ignore the signals while a record is being written."""
    before = {signum: signal.signal(signum, signal.SIG_IGN) for signum in signals()}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
