"""Ranks that somebody else has started: torchrun, or SLURM's srun. Here they find out who they are.

Both start the same command once for every rank. Each checks its command line by itself, so that a mistake ends them all at
once; then they meet (``meeting``), and only rank 0 makes a directory and a record.
"""

import os
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

from src.errors import ConfigError


@dataclass(frozen=True)
class Place:
    """Where this process stands among all ranks.

    Attributes:
        rank: its number among all.
        world: how many there are.
        local_world: how many of them are on this machine.
        local_rank: its number among those.
        node: this machine's number; rank 0 is on machine 0.
    """

    rank: int
    world: int
    local_world: int
    local_rank: int
    node: int

    @property
    def nodes(self) -> int:
        """Machines."""
        return self.world // self.local_world

    @property
    def announces(self) -> bool:
        """Whether it reports what it waits for: rank 0, and one rank on each machine for those that wait for rank 0."""
        return self.local_rank == (1 if self.node == 0 and self.rank else 0)


def place() -> Place | None:
    """This process's place; None where it was started alone."""
    _adopt_slurm()
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return None
    # Before torch is imported: it prints a stack for every connection that another rank closes, or that has no host name.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    local_world = int(os.environ.get("LOCAL_WORLD_SIZE", world))
    local_rank = int(os.environ.get("LOCAL_RANK", rank % local_world))
    return Place(rank, world, local_world, local_rank, node=int(os.environ.get("GROUP_RANK", rank // local_world)))


def _adopt_slurm() -> None:
    """Translate what srun says into torch's words. A step of one task is an ordinary command."""
    slurm = os.environ
    if "RANK" in slurm or int(slurm.get("SLURM_STEP_NUM_TASKS", 1)) == 1:
        return
    tasks = slurm["SLURM_STEP_TASKS_PER_NODE"]  # such as 4(x2) for 4 on each of two nodes; 4,3 is refused later
    slurm["RANK"], slurm["LOCAL_RANK"] = slurm["SLURM_PROCID"], slurm["SLURM_LOCALID"]
    slurm["WORLD_SIZE"], slurm["LOCAL_WORLD_SIZE"] = slurm["SLURM_STEP_NUM_TASKS"], re.split("[(,]", tasks)[0]
    slurm["GROUP_RANK"] = slurm["SLURM_NODEID"]
    if "MASTER_ADDR" not in slurm:
        alone = tasks == slurm["SLURM_STEP_NUM_TASKS"]
        slurm["MASTER_ADDR"] = "127.0.0.1" if alone else _first_node(slurm["SLURM_STEP_NODELIST"])
    # Steps of one job that run side by side must not meet: a port for each, out of the range that nobody is assigned.
    step = int(slurm["SLURM_JOB_ID"]) * 64 + int(slurm["SLURM_STEP_ID"])
    slurm.setdefault("MASTER_PORT", str(20_000 + step % 12_000))


def _first_node(nodes: str) -> str:
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment  # takes long to import

    return SLURMEnvironment.resolve_root_node_address(nodes)


def adopted_slurm() -> bool:
    """Whether srun, and not torchrun, started this rank."""
    return "TORCHELASTIC_RUN_ID" not in os.environ and "SLURM_STEP_NUM_TASKS" in os.environ


def as_overrides(here: Place, words: Iterable[str]) -> list[str]:
    """The devices that torchrun or SLURM gave, as settings to be added to the command line's.

    Raises:
        ConfigError: the command line asks for something else, or the machines do not have the same number of ranks.
    """
    tasks = os.environ.get("SLURM_STEP_TASKS_PER_NODE", "") if adopted_slurm() else ""
    if "," in tasks or here.world % here.local_world:
        here_or_there = f"over the nodes ({tasks})" if tasks else f"({here.local_world} of {here.world} here)"
        raise ConfigError(
            f"the processes are spread unevenly {here_or_there}: start as many on each machine (srun --ntasks-per-node, "
            "torchrun --nproc-per-node)."
        )
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
