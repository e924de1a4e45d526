"""A rank that torchrun or srun has started: it trains in a process of its own, which this one watches.

torch waits for other ranks outside Python, where no signal handler runs, and for up to half an hour. The process that
keeps the record never calls what may wait so; it answers to signals and to failures of other ranks at any time.
"""

import os
import signal
import time
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from torch.multiprocessing.spawn import start_processes

from src.errors import Interrupted
from src.launching.hardware import Hardware
from src.launching.processes import CAUSE_S, GRACE_S, Train, cause_of_end, out_of_time, run_rank, start_method
from src.launching.store import RankStore

_LOOK_EVERY_S = 0.3


@dataclass(frozen=True)
class StartedRank:
    """Trains as one of the ranks of ``store``, in a new process; all ranks launch, once they have registered."""

    store: RankStore
    hardware: Hardware
    max_minutes: float | None = None

    def launch(self, train: Train, config: dict[str, Any], directory: str) -> dict[str, Any]:
        """See ``Launcher``; returns the result of this rank."""
        try:
            return self._start(train, config, directory)
        except BaseException as error:
            self.store.fail(error)
            raise

    def _start(self, train: Train, config: dict[str, Any], directory: str) -> dict[str, Any]:
        ranks, method = self.store.ranks, start_method(self.hardware.accelerator)
        # The last is torch's name for a store that another process serves.
        environment = {**ranks.environment, **self.store.interface(), "TORCHELASTIC_USE_AGENT_STORE": "True"}
        answers, replies = get_context(method).Pipe(duplex=False)
        arguments = (replies, ranks.rank, self.hardware.threads, environment, train, config, directory)
        [child] = start_processes(_train, arguments, join=False, start_method=method).processes
        replies.close()
        try:
            return self._result(child, answers)
        except Interrupted as stop:
            _stop(child, stop.signum)
            raise
        finally:
            child.kill()
            child.join()

    def _result(self, child: BaseProcess, answers: Connection) -> dict[str, Any]:
        until = None if self.max_minutes is None else time.monotonic() + 60 * self.max_minutes
        while not answers.poll(_LOOK_EVERY_S):
            if until is not None and time.monotonic() > until:
                _stop(child, signal.SIGTERM)
                raise out_of_time(self.max_minutes)
            # All ranks agree on a signal and save before they end: this one's own end, a moment later, is then the same.
            if (failure := self.store.failure()) and not answers.poll(CAUSE_S):
                raise failure
        try:
            answer, cause_is_elsewhere = answers.recv()
        except EOFError:
            child.join()
            raise cause_of_end(child.exitcode or 0, f"the training process (pid {child.pid})") from None
        if cause_is_elsewhere:
            limit = time.monotonic() + CAUSE_S
            while time.monotonic() < limit:
                if failure := self.store.failure():
                    raise failure
                time.sleep(_LOOK_EVERY_S)
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)


def _stop(child: BaseProcess, signum: int) -> None:
    """Have the process save and end."""
    if child.is_alive() and child.pid:
        os.kill(child.pid, signum)
        child.join(GRACE_S)


def _train(index: int, replies: Connection, *arguments: Any) -> None:
    """What the watched process runs; it sends its result or its error, and whether that comes from another rank."""
    replies.send((run_rank(lambda *error: replies.send(error), *arguments), False))
