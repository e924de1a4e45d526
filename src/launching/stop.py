"""What SIGTERM, SIGINT (Ctrl-C), SIGHUP and SIGUSR1 do in a process that has nothing to save. Imports no torch."""

import signal
import threading
from collections.abc import Callable, Iterator
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


class _StopHandler:
    """A signal handler that remembers the signal; Python keeps the handlers of a process, and with them what has come.

    Args:
        act: called with the signal.
    """

    def __init__(self, act: Callable[[int], None]) -> None:
        self.act, self.received = act, 0

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        self.received = signum
        self.act(signum)

    def install(self) -> None:
        """Take the place of another, and take over what that one has received."""
        for signum in signals():
            before = signal.signal(signum, self)
            if isinstance(before, _StopHandler) and before.received:
                self.received = before.received


def signals() -> tuple[signal.Signals, ...]:
    """Those that this thread may handle: Python lets the main thread alone install handlers."""
    return STOP if threading.current_thread() is threading.main_thread() else ()


def received() -> int:
    """The signal that this process was told to stop by, or 0.

    An exception raised from a signal handler can strike in the middle of a library that turns it into another, so who
    handles an error asks here first.
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
    """From now on each raises ``Interrupted`` at once."""
    _StopHandler(_raise).install()


def only_note_stop() -> None:
    """From now on each is noted, for ``received``, and nothing else happens."""
    _StopHandler(lambda signum: None).install()


def pass_on_stop() -> None:
    """From now on each is noted and passed on to the processes that this one has started."""
    _StopHandler(_pass_on).install()


def end_on_stop() -> None:
    """From now on each ends the process at once and without a word: everything is saved, and the interpreter exits."""
    for signum in signals():
        signal.signal(signum, signal.SIG_DFL)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Ignore them for the moment that a record takes to be written."""
    before = {signum: signal.signal(signum, signal.SIG_IGN) for signum in signals()}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
