"""Launchers: training in this process, in one process per device, or as a rank started by torchrun or srun.

Lightning's launcher would run the command line again for every rank, which in a multirun would start the whole sweep. Here the
configuration is composed once and passed to the ranks as plain data.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import parent_process
from pathlib import Path
from typing import Protocol

import torch
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # not in its __all__

from src.launching.hardware import Hardware
from src.launching.logs import log_to
from src.launching.processes import Train, loopback, train_in_processes
from src.launching.share import is_worker
from src.launching.store import RankStore

_HOST = "127.0.0.1"


class Launcher(Protocol):
    """Protocol of a launcher, which runs the training of a run in its processes."""

    def launch(self, train: Train, directory: str) -> None:
        """Call ``train`` in every rank of the run in ``directory``.

        Raises:
            UserError: a rank found something the user can fix, or training took too long.
            RankFailed: another process raised anything else, or was killed.
            Interrupted: a signal stopped this process or another rank; all ranks have stopped.
        """


@dataclass(frozen=True)
class InProcess:
    """Trains in this process, which allows debugging. A process that has trained must not fork."""

    threads: int

    def launch(self, train: Train, directory: str) -> None:
        """See ``Launcher``; errors of ``train`` are raised unchanged."""
        torch.set_num_threads(self.threads)
        if is_worker():
            log_to(Path(directory), alone=True)
        train()


@dataclass(frozen=True)
class LocalProcesses:
    """Trains in new processes, one per device of this machine."""

    hardware: Hardware
    max_minutes: float | None = None

    def launch(self, train: Train, directory: str) -> None:
        """See ``Launcher``."""
        count = self.hardware.devices
        with _serve_store() as port:
            # torchrun's variables; on one machine the local rank equals the rank.
            common = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "GROUP_RANK": "0", "MASTER_ADDR": _HOST}
            common |= {"MASTER_PORT": str(port), "TORCHELASTIC_USE_AGENT_STORE": "True", **loopback()}
            ranks = {rank: {**common, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)}
            train_in_processes(ranks, self.hardware, train, directory, max_minutes=self.max_minutes, prefix="rank {}: ")


@contextmanager
def _serve_store() -> Iterator[int]:
    """Context that serves the ranks' store on a free port of the loopback interface; torch's would listen on all interfaces."""
    with socket.create_server((_HOST, 0)) as server:
        port = int(server.getsockname()[1])
        store = TCPStore(_HOST, port, is_master=True, wait_for_workers=False, master_listen_fd=server.detach())
    try:
        yield port
    finally:
        del store  # else frames of an error would keep it, and a rank forked later would abort when it is collected


@dataclass(frozen=True)
class StartedRank:
    """Trains one of the ranks of ``store`` in a new process; every rank launches after all have registered."""

    store: RankStore
    hardware: Hardware
    max_minutes: float | None = None

    def launch(self, train: Train, directory: str) -> None:
        """See ``Launcher``."""
        ranks, failure = self.store.ranks, self.store.failure
        # The last variable tells torch that another process serves the store.
        environment = {**ranks.environment, **self.store.interface(), "TORCHELASTIC_USE_AGENT_STORE": "True"}
        own, limit = {ranks.rank: environment}, self.max_minutes
        try:
            train_in_processes(own, self.hardware, train, directory, max_minutes=limit, failure=failure)
        except BaseException as error:
            self.store.fail(error)
            raise


def launcher_for(
    hardware: Hardware, store: RankStore | None, max_minutes: float | None, starts_others: bool
) -> Launcher:
    """Select the launcher of a run.

    Args:
        hardware: the run's devices.
        store: store of the ranks started by torchrun or srun; None otherwise.
        max_minutes: time limit of the training, which requires a process that can be killed.
        starts_others: whether this process starts further runs after this one, in which case it must not train.
    """
    if store is not None:
        return StartedRank(store, hardware, max_minutes)
    forked = parent_process() is not None and hardware.accelerator != "cpu"  # CUDA cannot be used after a fork
    if starts_others or forked or hardware.devices > 1 or max_minutes is not None:
        return LocalProcesses(hardware, max_minutes)
    return InProcess(hardware.threads)
