"""What all processes that train have in common: how they start, what their ends mean, and how long they have to stop."""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from src.errors import Interrupted, UserError
from src.launching.logs import log_to
from src.launching.stop import STOP, end_on_stop

# Trains a configuration in a directory and returns the result; every rank calls it with the same arguments.
Train = Callable[[dict[str, Any], str], dict[str, Any]]

# A process that outlives the order to stop is killed after so many seconds.
GRACE_S = 20
# What ends one rank ends the others, too: for so many seconds the one at fault is awaited.
CAUSE_S = 5


class RankFailed(Exception):
    """A rank has failed. Unlike torch's ``ChildFailedError`` it survives pickling.

    Args:
        message: the root cause in one line.
        details: its traceback, if there is one.
    """

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message, details)
        self.message, self.details = message, details

    def __str__(self) -> str:
        return self.message


def start_method(accelerator: str) -> str:
    """Forked processes keep what this one has imported and start in half a second; CUDA cannot be forked.

    Nor can a process that has computed: its child waits forever for threads that were not copied. So a process that starts
    others never trains itself.
    """
    return "fork" if accelerator == "cpu" and sys.platform == "linux" else "spawn"


def loopback() -> dict[str, str]:
    """The variable that keeps gloo to the loopback interface, unless the user has set it."""
    name = "GLOO_SOCKET_IFNAME"
    return {} if name in os.environ else {name: "lo" if sys.platform == "linux" else "lo0"}


def run_rank(
    report: Callable[[Exception, bool], None],
    rank: int,
    threads: int,
    environment: Mapping[str, str],
    train: Train,
    config: dict[str, Any],
    directory: str,
) -> dict[str, Any]:
    """Train as one rank, in a process that was started for it, and return the result.

    An error is passed to ``report``, together with whether it probably comes from the end of another rank.
    """
    import torch

    # A forked process has inherited handlers. While there is nothing to save a signal ends it at once, even where it waits,
    # deep in torch, for a rank that will not come.
    end_on_stop()
    os.environ.update(environment)
    torch.set_num_threads(threads)
    log_to(Path(directory), rank, alone=True)
    try:
        return train(config, directory)
    except Interrupted as stop:
        raise SystemExit(stop.exit_status) from None
    except UserError as error:
        report(error, False)
        raise
    except Exception as error:
        failure: Exception = RankFailed(f"{type(error).__name__}: {error}", traceback.format_exc())
        if "connectFullMesh" in str(error):
            failure = UserError(
                f"this rank cannot connect to the others through GLOO_SOCKET_IFNAME={os.environ.get('GLOO_SOCKET_IFNAME')}: "
                "set it, on each machine, to the network interface that reaches the other machines."
            )
        report(failure, isinstance(error, torch.distributed.DistError) or "gloo" in str(error).lower())
        raise


def cause_of_end(status: int, process: str) -> BaseException:
    """Why a process has ended that left no message.

    Args:
        status: its exit code, negative for a signal.
        process: what to call it.
    """
    for signum in STOP:
        if status in (128 + signum, -signum):
            return Interrupted(signum)
    name = f" ({signal.Signals(-status).name})" if status < 0 else ""
    return RankFailed(f"{process} ended with status {status}{name} and left no message")


def out_of_time(max_minutes: float | None) -> UserError:
    """The error of a run that has reached its limit."""
    return UserError(f"the run took longer than trainer.max_minutes={max_minutes:g}: resume it with more.")
