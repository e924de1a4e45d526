"""What SIGTERM and Ctrl-C do in a process that has nothing to save. Imports no torch."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from src.errors import Interrupted

STOP = (signal.SIGTERM, signal.SIGINT)


def raise_on_stop() -> None:
    """From now on both raise ``Interrupted`` at once."""

    def handler(signum: int, frame: FrameType | None) -> None:
        raise Interrupted(signum)

    for signum in STOP:
        signal.signal(signum, handler)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Ignore both for the moment that a record takes to be written."""
    before = {signum: signal.signal(signum, signal.SIG_IGN) for signum in STOP}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
