"""A process for each device of this machine, started and watched by torch's elastic launcher.

Lightning's launcher would run the command line again for every rank, and in a multirun with it the whole sweep. Here
the configuration is composed once and passed to the ranks as plain data.
"""

import contextlib
import logging
import os
import pickle
import signal
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.utils.api import macros
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from src.errors import Interrupted, UserError
from src.launching.hardware import Hardware
from src.launching.processes import (
    CAUSE_S,
    GRACE_S,
    RankFailed,
    Train,
    cause_of_end,
    loopback,
    out_of_time,
    run_rank,
    start_method,
)
from src.launching.rendezvous import BACKEND
from src.launching.stop import STOP

# The launcher looks after the ranks as often; at its own 0.1 s the jobs of a sweep would wait a good part of their time.
_LOOK_EVERY_S = 0.03


@dataclass(frozen=True)
class LocalProcesses:
    """Trains in new processes, one for each device of this machine."""

    hardware: Hardware
    max_minutes: float | None = None

    def launch(self, train: Train, config: dict[str, Any], directory: str) -> dict[str, Any]:
        """See ``Launcher``."""
        # torch's launcher describes each failure at length on the terminal; ours goes to the log and the record.
        for name in list(logging.root.manager.loggerDict):
            if name.startswith(("torch.distributed", "torch.multiprocessing")):
                logging.getLogger(name).setLevel(logging.CRITICAL)
        # The launcher takes these over, and does not give them back.
        handlers = {signum: signal.getsignal(signum) for signum in STOP}
        with tempfile.TemporaryDirectory(prefix="ranks-") as folder:
            replies, struck = Path(folder), threading.Event()
            settings = LaunchConfig(
                min_nodes=1,
                max_nodes=1,
                nproc_per_node=self.hardware.devices,
                run_id=Path(directory).name,
                rdzv_backend=BACKEND,
                monitor_interval=_LOOK_EVERY_S,
                start_method=start_method(self.hardware.accelerator),
                max_restarts=0,  # the default of 3 would train again in silence
                shutdown_timeout=GRACE_S,
                signals_to_handle=",".join(signum.name for signum in STOP),
                logs_specs=DefaultLogsSpecs(log_dir=folder),
            )
            clock = threading.Timer(60 * (self.max_minutes or 0), _strike, (replies, struck))
            clock.daemon = True
            if self.max_minutes is not None:
                clock.start()
            # On one machine the local rank is the rank.
            rank = (macros.local_rank, replies, self.hardware.threads, loopback())
            try:
                results: dict[int, dict[str, Any]] = elastic_launch(settings, _train)(*rank, train, config, directory)
                return results[0]
            except SignalException as stop:
                signum = stop.sigval
            except ChildFailedError as failure:
                # Without a name: a cycle with this frame would keep the store's server until a rank forked later collects
                # it, and aborts for want of its thread.
                raise (out_of_time(self.max_minutes) if struck.is_set() else _root_cause(failure, replies)) from None
            finally:
                clock.cancel()
                for number, handler in handlers.items():
                    signal.signal(number, handler)
        signal.raise_signal(signum)  # the launcher's handler had it, and not this process's own
        raise Interrupted(signum)


def _train(rank: str, replies: Path, *arguments: Any) -> dict[str, Any]:
    """What each started process runs."""

    def report(error: Exception, comes_from_another: bool) -> None:
        (replies / f"error-{rank}").write_bytes(pickle.dumps(error))
        if comes_from_another:
            time.sleep(CAUSE_S)  # so that the rank at fault is seen to end first

    (replies / f"pid-{rank}").write_text(str(os.getpid()))
    return run_rank(report, int(rank), *arguments)


def _strike(replies: Path, struck: threading.Event) -> None:
    """Tell ranks that take too long to stop, and kill those that do not."""
    struck.set()
    for signum, patience in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, 0)):
        for path in replies.glob("pid-*"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(path.read_text()), signum)
        time.sleep(patience)


def _root_cause(failure: ChildFailedError, replies: Path) -> BaseException:
    errors = {path.name: pickle.loads(path.read_bytes()) for path in sorted(replies.glob("error-*"))}
    for error in errors.values():
        if isinstance(error, UserError):
            return error  # of the same class, for the record
    rank, first = failure.get_first_failure()
    if cause := errors.get(f"error-{rank}"):
        return RankFailed(f"rank {rank}: {cause.message}", cause.details)
    return cause_of_end(first.exitcode, f"rank {rank} (pid {first.pid})")
