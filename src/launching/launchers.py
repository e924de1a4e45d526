"""Where a run is trained: in this process, in a process for each device, or as a rank that torchrun or srun has started."""

from dataclasses import dataclass
from typing import Any, Protocol

import torch

from src.launching.hardware import Hardware
from src.launching.local_processes import LocalProcesses
from src.launching.processes import Train
from src.launching.started_rank import StartedRank
from src.launching.store import RankStore


class Launcher(Protocol):
    """Has one configuration trained."""

    def launch(self, train: Train, config: dict[str, Any], directory: str) -> dict[str, Any]:
        """Call ``train`` in every rank, with the same arguments, and return the result of rank 0.

        Raises:
            UserError: a rank found something the user can fix, or training took too long.
            RankFailed: another process raised anything else, or was killed.
            Interrupted: this process, or another rank, was told to stop; all ranks have stopped.
        """


@dataclass(frozen=True)
class InProcess:
    """Trains in this process, where a debugger works. A process that has trained must not start others by fork."""

    threads: int

    def launch(self, train: Train, config: dict[str, Any], directory: str) -> dict[str, Any]:
        """See ``Launcher``; every error is that of ``train`` itself."""
        torch.set_num_threads(self.threads)
        return train(config, directory)


def launcher_for(hardware: Hardware, store: RankStore | None, max_minutes: float | None, in_sweep: bool) -> Launcher:
    """The launcher of one run.

    Only a run that is all its command does is trained in the command's own process; a sweep goes on to start others.

    Args:
        hardware: the run's devices.
        store: of the ranks that torchrun or srun has started; None in a command by itself.
        max_minutes: time limit of the training, which takes a process that can be killed.
        in_sweep: whether the run is a job of a sweep.
    """
    if store is not None:
        return StartedRank(store, hardware, max_minutes)
    if in_sweep or hardware.devices > 1 or max_minutes is not None:
        return LocalProcesses(hardware, max_minutes)
    return InProcess(hardware.threads)
