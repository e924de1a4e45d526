"""Training in new processes, monitored from this one: start, exit statuses and time limits.

torch waits for other ranks outside Python, where no signal handler runs, and for up to half an hour. The process that writes
the record makes no such blocking calls, so that it responds to signals, to the time limit and to failing ranks at any time.
"""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from multiprocessing import active_children, connection, get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING

from src.errors import Interrupted, UserError
from src.launching.logs import log_to
from src.launching.stop import STOP, end_on_stop

if TYPE_CHECKING:
    from src.launching.hardware import Hardware

# Function that trains a run, called by every rank.
Train = Callable[[], object]

# Seconds after which a process that does not respond to a signal is killed.
GRACE_S = 20
# Seconds to wait for the rank that caused a failure, since the other ranks fail with it.
CAUSE_S = 5
_LOOK_EVERY_S = 0.3


class RankFailed(Exception):
    """A rank has failed. Unlike torch's ``ChildFailedError`` it survives pickling.

    Args:
        message: the root cause in one line.
        details: traceback of the root cause, if there is one.
    """

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message, details)
        self.message, self.details = message, details

    def __str__(self) -> str:
        return self.message


def loopback() -> dict[str, str]:
    """The variable that restricts gloo to the loopback interface, unless the user has set it."""
    name = "GLOO_SOCKET_IFNAME"
    return {} if name in os.environ else {name: "lo" if sys.platform == "linux" else "lo0"}


def train_in_processes(
    environments: Mapping[int, Mapping[str, str]],
    hardware: "Hardware",
    train: Train,
    directory: str,
    *,
    max_minutes: float | None,
    failure: Callable[[], BaseException | None] = lambda: None,
    prefix: str = "",
) -> None:
    """Train in a new process for each rank, and wait until all have ended.

    Args:
        environments: environment variables by rank.
        hardware: the run's devices.
        train: called in each process.
        directory: the run's directory, for the log.
        max_minutes: time limit.
        failure: returns the error of a rank started elsewhere; None if there is none.
        prefix: prefix of the message of a failed rank, in which ``{}`` is replaced by the rank.

    Raises:
        UserError: a rank found something the user can fix, or training took too long.
        RankFailed: a rank raised anything else, or was killed.
        Interrupted: a signal stopped this process or a rank; all ranks have stopped.
    """
    from torch.multiprocessing.spawn import start_processes  # torch is not imported before there is something to train

    # Forked processes inherit the imported modules and start in half a second; CUDA cannot be forked. Nor can a process that
    # has computed: its child waits forever for threads that were not copied. So this process does not train.
    method = "fork" if hardware.accelerator == "cpu" and sys.platform == "linux" else "spawn"
    until = None if max_minutes is None else time.monotonic() + 60 * max_minutes
    answers, replies = zip(*(get_context(method).Pipe(duplex=False) for _ in environments), strict=True)
    arguments = (list(environments.items()), replies, hardware.threads, train, directory)
    try:
        started = start_processes(_train, arguments, len(environments), join=False, start_method=method)
        children = dict(zip(environments, started.processes, strict=True))
        for reply in replies:
            reply.close()
        errors: dict[int, tuple[UserError | RankFailed, bool]] = {}
        pending = dict(zip(answers, environments, strict=True))
        # Each status is read once: a rank that ends during this iteration is detected in the next one.
        while set(statuses := [child.exitcode for child in children.values()]) != {0}:
            if failed := [rank for rank, status in zip(children, statuses, strict=True) if status]:
                _stop(children.values(), signal.SIGTERM)
                _receive(pending, errors, connection.wait(pending, 0))
                raise _cause(failed[0], children[failed[0]], errors, failure, prefix)
            if until is not None and time.monotonic() > until:
                _stop(children.values(), signal.SIGTERM)
                raise UserError(f"the run took longer than trainer.max_minutes={max_minutes:g}: resume it with more.")
            running = [one.sentinel for one, status in zip(children.values(), statuses, strict=True) if status is None]
            _receive(pending, errors, connection.wait([*running, *pending], _LOOK_EVERY_S))
            # All ranks agree on a signal and save before they end, so this process ends for the same signal shortly after.
            if (elsewhere := failure()) and not connection.wait(running, CAUSE_S):
                raise elsewhere
    except Interrupted as stop:
        _stop(active_children(), stop.signum)  # some may not have been started
        raise
    finally:
        for child in active_children():
            child.kill()
            child.join()


def _receive(
    pending: dict[connection.Connection, int],
    errors: dict[int, tuple[UserError | RankFailed, bool]],
    ready: Sequence[object],
) -> None:
    """Receive the error of each rank that has reported one, and whether it comes from another rank."""
    for answer in [answer for answer in pending if answer in ready]:
        rank = pending.pop(answer)
        with suppress(EOFError):
            errors[rank] = answer.recv()


def _cause(
    rank: int,
    child: BaseProcess,
    errors: Mapping[int, tuple[UserError | RankFailed, bool]],
    failure: Callable[[], BaseException | None],
    prefix: str,
) -> BaseException:
    """The error that ended a training in which this rank was the first to fail."""
    error, comes_from_another = errors.get(rank, (None, False))
    if comes_from_another and (elsewhere := failure()):
        return elsewhere
    for reported, _ in errors.values():
        if isinstance(reported, UserError):
            return reported  # of the same class, for the record
    if isinstance(error, RankFailed):
        return RankFailed(prefix.format(rank) + error.message, error.details)
    status = child.exitcode or 0
    if (signum := signal_of(status)) in STOP:
        return Interrupted(signum)
    return RankFailed(prefix.format(rank) + no_message(child.pid or 0, status))


def signal_of(exit_status: int) -> int:
    """The signal that ended a process, by killing it or as encoded in its exit status; 0 for none."""
    return max(-exit_status, exit_status - 128, 0)


def no_message(pid: int, exit_status: int) -> str:
    """Error message for a process that was killed."""
    name = f" ({signal.Signals(-exit_status).name})" if exit_status < 0 else ""
    return f"the training process (pid {pid}) ended with status {exit_status}{name} and left no message"


def _stop(children: Collection[BaseProcess], signum: int) -> None:
    """Signal the processes to save and end."""
    for child in children:
        if child.is_alive() and child.pid:
            os.kill(child.pid, signum)
    until = time.monotonic() + GRACE_S
    for child in children:
        child.join(max(0, until - time.monotonic()))


def _train(
    index: int,
    environments: Sequence[tuple[int, Mapping[str, str]]],
    replies: Sequence[connection.Connection],
    threads: int,
    train: Train,
    directory: str,
) -> None:
    """Main function of each process; sends its error, and whether the end of another rank probably caused it."""
    import torch

    # Resets the inherited handlers: until there is a state to save, a signal ends the process immediately, even while torch
    # waits for a rank that will not connect.
    end_on_stop()
    rank, environment = environments[index]
    os.environ.update(environment)
    torch.set_num_threads(threads)
    log_to(Path(directory), rank, alone=True)
    comes_from_another = False
    try:
        train()
        return
    except Interrupted as stop:
        raise SystemExit(stop.exit_status) from None
    except UserError as error:
        failure: Exception = error
    except Exception as error:
        failure = RankFailed(f"{type(error).__name__}: {error}", traceback.format_exc())
        if "connectFullMesh" in str(error):
            failure = UserError(
                f"this rank cannot connect to the others through GLOO_SOCKET_IFNAME={os.environ.get('GLOO_SOCKET_IFNAME')}: "
                "set it, on each machine, to the network interface that reaches the other machines."
            )
        comes_from_another = isinstance(error, torch.distributed.DistError) or "gloo" in str(error).lower()
    replies[index].send((failure, comes_from_another))
    if comes_from_another:
        time.sleep(CAUSE_S)  # so that the rank that caused the failure ends first
    raise SystemExit(1)
