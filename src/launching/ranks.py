"""The processes that train: this one, or one for each device, started and watched by torch's elastic launcher.

Lightning's launcher would run the command line again for every rank, and in a multirun with it the whole sweep. Here
the configuration is composed once and handed to the ranks as plain data.
"""

import contextlib
import logging
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from src.errors import Interrupted, UserError
from src.launching.hardware import Hardware
from src.launching.logs import log_to
from src.launching.rendezvous import BACKEND
from src.launching.stop import STOP, note

Fit = Callable[[dict[str, Any], str], dict[str, Any]]

# Ranks that outlive the order to stop are killed after so many seconds.
_GRACE_S = 20
# A rank that lost its connection waits so long before it says so, for the rank at fault to be seen to end first.
_LATER_S = 5
# The launcher looks after the ranks as often; at its own 0.1 s the jobs of a sweep would wait a good part of their time.
_LOOK_EVERY_S = 0.03

# Whether this process has used its threads, after which a process forked from it may hang.
_computed = False


class RankFailed(Exception):
    """A rank ended badly. Unlike torch's ``ChildFailedError`` it survives pickling.

    Args:
        message: the root cause in one line.
        details: its traceback, if there is one.
    """

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message, details)
        self.message, self.details = message, details

    def __str__(self) -> str:
        return self.message


def run_here(fit: Fit, config: dict[str, Any], directory: str, threads: int) -> dict[str, Any]:
    """Train in this process: a single run on one device, where a debugger should work."""
    global _computed
    _computed = True
    torch.set_num_threads(threads)
    return fit(config, directory)


def launch(
    fit: Fit, config: dict[str, Any], directory: str, hardware: Hardware, max_minutes: float | None = None
) -> dict[str, Any]:
    """Train in processes of their own, one for each device, and return rank 0's result.

    Raises:
        UserError: a rank found something the user can put right, or all took longer than ``max_minutes``.
        RankFailed: a rank raised anything else, or was killed.
        Interrupted: this process was told to stop; the ranks have stopped too.
    """
    if _computed:
        raise RuntimeError(
            "This process has trained; what it forks now may hang. Launch ranks from a process of their own."
        )
    # torch's launcher describes each failure at length on the terminal; ours goes to the log and the record.
    for name in list(logging.root.manager.loggerDict):
        if name.startswith(("torch.distributed", "torch.multiprocessing")):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    # The launcher takes these over, and does not give them back.
    handlers = {signum: signal.getsignal(signum) for signum in STOP}
    with tempfile.TemporaryDirectory(prefix="ranks-") as replies:
        launcher = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=hardware.devices,
            run_id=Path(directory).name,
            rdzv_backend=BACKEND,
            monitor_interval=_LOOK_EVERY_S,
            # Forked ranks keep what this process has imported and start in half a second; CUDA cannot be forked.
            start_method="fork" if hardware.accelerator == "cpu" and sys.platform == "linux" else "spawn",
            max_restarts=0,  # the default of 3 would train again in silence
            shutdown_timeout=_GRACE_S,
            signals_to_handle=",".join(signum.name for signum in STOP),
            logs_specs=DefaultLogsSpecs(log_dir=replies),
        )
        clock = _Clock(max_minutes, Path(replies))
        clock.start()
        try:
            answers = elastic_launch(launcher, _rank)(fit, config, directory, hardware.threads, replies)
            return answers[0]
        except SignalException as stop:
            note(stop.sigval)  # the launcher's handlers had it
            raise Interrupted(stop.sigval) from None
        except ChildFailedError as failure:
            if clock.struck:
                raise UserError(
                    f"the run took longer than trainer.max_minutes={max_minutes:g}: resume it with more."
                ) from None
            raise _root_cause(failure, Path(replies)) from None
        finally:
            clock.cancel()
            for signum, handler in handlers.items():
                signal.signal(signum, handler)


def _rank(fit: Fit, config: dict[str, Any], directory: str, threads: int, replies: str) -> dict[str, Any]:
    """What each started process runs."""
    # A forked rank has inherited the launcher's handlers. While there is nothing to save a signal ends it at once, even
    # where it waits, deep in torch, for a rank that will not come.
    for signum in STOP:
        signal.signal(signum, signal.SIG_DFL)
    rank = int(os.environ["RANK"])
    Path(replies, f"pid-{rank}").write_text(str(os.getpid()))
    torch.set_num_threads(threads)
    stay_on_this_machine()
    log_to(Path(directory), rank, alone=True)
    try:
        return fit(config, directory)
    except UserError as error:
        Path(replies, f"user-error-{rank}").write_bytes(pickle.dumps(error))
        raise
    except Interrupted as stop:
        raise SystemExit(stop.exit_status) from None
    except Exception as error:
        if isinstance(error, torch.distributed.DistError) or "gloo" in str(error):
            time.sleep(_LATER_S)
        raise


class _Clock(threading.Timer):
    """Tells ranks that take too long to stop, and kills those that do not."""

    def __init__(self, minutes: float | None, replies: Path) -> None:
        super().__init__(60 * (minutes or 0), self._strike)
        self.daemon, self.minutes, self.replies, self.struck = True, minutes, replies, False

    def start(self) -> None:
        """Run, if there is a limit."""
        if self.minutes is not None:
            super().start()

    def _strike(self) -> None:
        self.struck = True
        for signum, patience in ((signal.SIGTERM, _GRACE_S), (signal.SIGKILL, 0)):
            for path in self.replies.glob("pid-*"):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(path.read_text()), signum)
            time.sleep(patience)


def stay_on_this_machine() -> None:
    """Let the ranks of one machine talk over the loopback interface alone."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo" if sys.platform == "linux" else "lo0")


def _root_cause(failure: ChildFailedError, replies: Path) -> BaseException:
    for mistake in sorted(replies.glob("user-error-*")):
        error: UserError = pickle.loads(mistake.read_bytes())  # of the same class, for the record
        return error
    rank, first = failure.get_first_failure()
    for signum in STOP:
        if first.exitcode in (128 + signum, -signum):
            return Interrupted(signum)
    if first.error_file_data and isinstance(data := first.error_file_data.get("message"), dict):
        return RankFailed(f"rank {rank}: {data['message']}", data.get("extraInfo", {}).get("py_callstack", ""))
    name = f" ({signal.Signals(-first.exitcode).name})" if first.exitcode < 0 else ""
    return RankFailed(f"rank {rank} (pid {first.pid}) ended with status {first.exitcode}{name} and left no message")
