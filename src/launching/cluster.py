"""Ranks that somebody else has started: torchrun, or SLURM's srun. Here they find out who they are.

Both start the same command once for every rank; only rank 0 then makes a directory and a record, and tells the others.
"""

import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from src.errors import ConfigError, UserError

_KEY = "what-rank-0-has-decided"
_TOLD_WITHIN = timedelta(minutes=5)
# Kept to the end: the others ask the process that made it.
_store: object = None
_told = False


@dataclass(frozen=True)
class Place:
    """Where this process stands among all ranks.

    Attributes:
        rank: its number among all.
        world: how many there are.
        local_world: how many of them are on this machine.
    """

    rank: int
    world: int
    local_world: int

    @property
    def nodes(self) -> int:
        """Machines."""
        return self.world // self.local_world


def place() -> Place | None:
    """This process's place; None where it was started alone.

    Raises:
        ConfigError: the machines have not the same number of ranks.
    """
    _adopt_slurm()
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return None
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    local_world = int(os.environ.get("LOCAL_WORLD_SIZE", world))
    if world % local_world:
        raise ConfigError(f"{world} processes are spread unevenly, {local_world} here: start as many on each machine.")
    return Place(rank, world, local_world)


def _adopt_slurm() -> None:
    """Translate what srun says into torch's words. A step of one task is an ordinary command."""
    slurm = os.environ
    if "RANK" in slurm or int(slurm.get("SLURM_STEP_NUM_TASKS", 1)) == 1:
        return
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

    tasks = slurm["SLURM_STEP_TASKS_PER_NODE"]  # such as 4(x2) for 4 on each of two nodes
    if "," in tasks:
        raise ConfigError(f"SLURM spreads the tasks unevenly over the nodes ({tasks}): use --ntasks-per-node.")
    nodes = SLURMEnvironment.resolve_root_node_address(slurm["SLURM_STEP_NODELIST"])
    slurm["RANK"], slurm["LOCAL_RANK"] = slurm["SLURM_PROCID"], slurm["SLURM_LOCALID"]
    slurm["WORLD_SIZE"], slurm["LOCAL_WORLD_SIZE"] = slurm["SLURM_STEP_NUM_TASKS"], tasks.partition("(")[0]
    slurm["GROUP_RANK"] = slurm["SLURM_NODEID"]
    slurm.setdefault("MASTER_ADDR", nodes)
    # Steps of one job that run side by side must not meet: a port for each, out of the range that nobody is assigned.
    step = int(slurm["SLURM_JOB_ID"]) * 64 + int(slurm["SLURM_STEP_ID"])
    slurm.setdefault("MASTER_PORT", str(20_000 + step % 12_000))


def tell(message: Mapping[str, Any]) -> None:
    """Tell the other ranks what rank 0 has decided; only the first message counts."""
    global _told
    if not _told:
        _told = True
        _meet().set(_KEY, json.dumps(message))  # type: ignore[attr-defined]


def told() -> dict[str, Any]:
    """Wait for rank 0's message.

    Raises:
        UserError: it does not answer.
    """
    try:
        return json.loads(_meet().get(_KEY))  # type: ignore[attr-defined]
    except Exception as error:  # torch's own kinds for a time that ran out or a connection that broke
        raise UserError(f"rank 0 does not answer ({str(error).splitlines()[0]}): see its output.") from error


def _meet() -> object:
    global _store
    if _store is None:
        from torch.distributed.rendezvous import rendezvous

        here = place()
        assert here is not None
        _store, _, _ = next(iter(rendezvous("env://", here.rank, here.world, timeout=_TOLD_WITHIN)))
    return _store


def as_overrides(here: Place, words: Iterable[str]) -> list[str]:
    """The devices that torchrun or SLURM gave, as settings to be added to the command line's.

    Raises:
        ConfigError: the command line asks for something else.
    """
    given = {"trainer.devices": str(here.local_world), "trainer.num_nodes": str(here.nodes)}
    for word in words:
        key, _, value = word.partition("=")
        if key in given and value not in (given[key], "auto"):
            raise ConfigError(
                f"{word}: this command was started as {here.world} processes on {here.nodes} machines, which is "
                f"{key}={given[key]}; leave it out."
            )
    return [f"{key}={value}" for key, value in given.items()]


def requeued() -> bool:
    """Whether SLURM has started this job before."""
    return int(os.environ.get("SLURM_RESTART_COUNT", 0)) > 0


def requeue() -> str | None:
    """Put this SLURM job back into the queue; returns what went wrong, if anything. Outside SLURM it does nothing."""
    if not (job := os.environ.get("SLURM_JOB_ID")):
        return None
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True)
    except OSError as error:
        return f"scontrol could not be started ({error.strerror})."
    return done.stderr.strip() or f"scontrol ended with status {done.returncode}." if done.returncode else None
