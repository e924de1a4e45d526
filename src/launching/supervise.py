"""A rank that torchrun or srun has started: it trains in a process of its own, which this one watches.

torch waits for other ranks outside Python, where no signal handler runs, and for up to half an hour. The process that keeps the
record never calls what may wait so; it answers to signals and to failures of other ranks at any time.
"""

import os
import signal
import sys
import time
import traceback
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from torch.multiprocessing.spawn import start_processes

from src.errors import Interrupted, UserError
from src.launching.cluster import Place
from src.launching.hardware import Hardware
from src.launching.logs import log_to
from src.launching.meeting import Meeting
from src.launching.ranks import Fit, RankFailed, stay_on_this_machine
from src.launching.stop import STOP

# A process that outlives the order to stop is killed after so many seconds.
_GRACE_S = 20
# What ends one rank ends the others, too: for so long the cause is awaited, in seconds.
_LATER_S = 5
_LOOK_EVERY_S = 0.3


def supervise(
    fit: Fit,
    config: dict[str, Any],
    directory: str,
    here: Place,
    hardware: Hardware,
    meeting: Meeting,
    max_minutes: float | None = None,
) -> dict[str, Any]:
    """Train as one of several ranks and return the result; all ranks call this, once they have met.

    Raises:
        UserError: this rank or another found something the user can fix, or training took longer than ``max_minutes``.
        RankFailed: this rank or another raised anything else, or was killed.
        Interrupted: this rank or another was told to stop.
    """
    try:
        if here.nodes == 1:
            stay_on_this_machine()
        else:
            meeting.choose_interface()
        return _watch(fit, config, directory, here, hardware, meeting, max_minutes)
    except BaseException as error:
        meeting.fail(error)
        raise


def _watch(
    fit: Fit,
    config: dict[str, Any],
    directory: str,
    here: Place,
    hardware: Hardware,
    meeting: Meeting,
    max_minutes: float | None,
) -> dict[str, Any]:
    # A forked process keeps what this one has imported and starts in half a second; CUDA cannot be forked.
    method = "fork" if hardware.accelerator == "cpu" and sys.platform == "linux" else "spawn"
    answers, replies = get_context(method).Pipe(duplex=False)
    context = start_processes(
        _train, (replies, fit, config, directory, here, hardware.threads), join=False, start_method=method
    )
    [child] = context.processes
    replies.close()
    try:
        return _result(child, answers, meeting, max_minutes)
    except Interrupted as stop:
        _stop(child, stop.signum)
        raise
    finally:
        child.kill()
        child.join()


def _result(child: BaseProcess, answers: Connection, meeting: Meeting, max_minutes: float | None) -> dict[str, Any]:
    until = None if max_minutes is None else time.monotonic() + 60 * max_minutes
    while not answers.poll(_LOOK_EVERY_S):
        if until is not None and time.monotonic() > until:
            _stop(child, signal.SIGTERM)
            raise UserError(f"the run took longer than trainer.max_minutes={max_minutes:g}: resume it with more.")
        # All ranks agree on a signal and save before they end: this one's own end, a moment later, is then the same.
        if (failure := meeting.failure()) and not answers.poll(_LATER_S):
            raise failure
    try:
        answer, cause_is_elsewhere = answers.recv()
    except EOFError:
        raise _ended(child) from None
    if cause_is_elsewhere:
        limit = time.monotonic() + _LATER_S
        while time.monotonic() < limit:
            if failure := meeting.failure():
                raise failure
            time.sleep(_LOOK_EVERY_S)
    if isinstance(answer, Exception):
        raise answer
    return dict(answer)


def _ended(child: BaseProcess) -> BaseException:
    """Why a process has ended that left no answer."""
    child.join()
    status = child.exitcode or 0
    for signum in STOP:
        if status in (128 + signum, -signum):
            return Interrupted(signum)
    name = f" ({signal.Signals(-status).name})" if status < 0 else ""
    return RankFailed(f"the training process (pid {child.pid}) ended with status {status}{name} and left no message")


def _stop(child: BaseProcess, signum: int) -> None:
    """Have the process save and end."""
    if child.is_alive() and child.pid:
        os.kill(child.pid, signum)
        child.join(_GRACE_S)


def _train(
    index: int, replies: Connection, fit: Fit, config: dict[str, Any], directory: str, here: Place, threads: int
) -> None:
    """What the watched process runs; it sends its result or its error, and whether that seems to come from another rank."""
    # While there is nothing to save a signal ends it at once, even where it waits, deep in torch, for another rank.
    for signum in STOP:
        signal.signal(signum, signal.SIG_DFL)
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "True"  # torch's name for a store that another process serves
    torch.set_num_threads(threads)
    log_to(Path(directory), here.rank, alone=True)
    try:
        replies.send((fit(config, directory), False))
    except UserError as error:
        replies.send((error, False))
    except Interrupted as stop:
        raise SystemExit(stop.exit_status) from None
    except Exception as error:
        text = str(error)
        if "connectFullMesh" in text:
            interface = os.environ.get("GLOO_SOCKET_IFNAME")
            replies.send(
                (
                    UserError(
                        f"this rank cannot connect to the others through GLOO_SOCKET_IFNAME={interface}: set it, on each "
                        "machine, to the network interface that reaches the other machines."
                    ),
                    True,
                )
            )
        else:
            connection = isinstance(error, torch.distributed.DistError) or "gloo" in text
            failure = RankFailed(f"{type(error).__name__}: {text}", traceback.format_exc())
            replies.send((failure, connection))
