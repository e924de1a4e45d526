"""The rank of a process started by torchrun or SLURM's srun, and requeueing of SLURM jobs.

Both start the same command once per rank. Each rank checks its command line, so that an error ends all of them at once; then
they connect to a shared store (``RankStore``), and only rank 0 creates a directory and a record.
"""

import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from src.errors import ConfigError


@dataclass(frozen=True)
class RankInfo:
    """The rank of this process among those started by torchrun or srun.

    Attributes:
        rank: rank among all processes.
        world_size: number of processes.
        local_rank: rank among the processes on this machine.
        local_world_size: number of processes on this machine.
        node: index of this machine; rank 0 is on machine 0.
        master_addr: host name of the store's server, if known.
        master_port: port of the store's server.
        agent_store: whether torchrun serves the store, instead of rank 0.
        restarts: number of times torchrun has restarted the ranks.
        slurm_tasks: tasks on each machine in srun's notation, such as ``4(x2)``; None if torchrun started this rank.
        environment: torchrun's variables, from which torch and Lightning read the rank, to be set if srun started this rank.
    """

    rank: int
    world_size: int
    local_rank: int
    local_world_size: int
    node: int
    master_addr: str | None = None
    master_port: int | None = None
    agent_store: bool = False
    restarts: int = 0
    slurm_tasks: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_environment(cls) -> "RankInfo | None":
        """Read the variables of torchrun or srun; None if neither started this process."""
        by_srun = "SLURM_STEP_NUM_TASKS" in os.environ and "TORCHELASTIC_RUN_ID" not in os.environ
        # A job step with a single task is an ordinary command.
        is_task = "RANK" not in os.environ and int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1
        translated = _of_srun(os.environ) if is_task else {}
        env = {**os.environ, **translated}
        if "RANK" not in env or "WORLD_SIZE" not in env:
            return None
        rank, world_size = int(env["RANK"]), int(env["WORLD_SIZE"])
        local_world_size = int(env.get("LOCAL_WORLD_SIZE", world_size))
        return cls(
            rank=rank,
            world_size=world_size,
            local_rank=int(env.get("LOCAL_RANK", rank % local_world_size)),
            local_world_size=local_world_size,
            node=int(env.get("GROUP_RANK", rank // local_world_size)),
            master_addr=env.get("MASTER_ADDR"),
            master_port=int(env["MASTER_PORT"]) if "MASTER_PORT" in env else None,
            agent_store=env.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
            restarts=int(env.get("TORCHELASTIC_RESTART_COUNT", 0)),
            slurm_tasks=env.get("SLURM_STEP_TASKS_PER_NODE", "") if by_srun else None,
            environment=translated,
        )

    @property
    def nodes(self) -> int:
        """Number of machines."""
        return self.world_size // self.local_world_size

    @property
    def announces(self) -> bool:
        """Whether this rank prints what it is waiting for: rank 0, and one rank per machine for those that wait for rank 0."""
        return self.local_rank == (1 if self.node == 0 and self.rank else 0)

    def overrides(self, words: Iterable[str]) -> list[str]:
        """The devices assigned by torchrun or SLURM, as overrides to be added to the command line.

        Raises:
            ConfigError: the command line sets other values, or the machines have different numbers of ranks.
        """
        tasks = self.slurm_tasks
        if "," in (tasks or "") or self.world_size % self.local_world_size:
            where = f"over the nodes ({tasks})" if tasks else f"({self.local_world_size} of {self.world_size} here)"
            raise ConfigError(
                f"the processes are spread unevenly {where}: start as many on each machine (srun --ntasks-per-node, "
                "torchrun --nproc-per-node)."
            )
        assigned = {"trainer.devices": str(self.local_world_size), "trainer.num_nodes": str(self.nodes)}
        for word in words:
            key, _, value = word.partition("=")
            if key in assigned and value not in (assigned[key], "auto"):
                raise ConfigError(
                    f"{word}: this command was started as {self.world_size} processes on {self.nodes} machines, which is "
                    f"{key}={assigned[key]}; leave it out."
                )
        return [f"{key}={value}" for key, value in assigned.items()]


def _of_srun(slurm: Mapping[str, str]) -> dict[str, str]:
    """Convert srun's variables to torchrun's."""
    tasks, world_size = slurm["SLURM_STEP_TASKS_PER_NODE"], slurm["SLURM_STEP_NUM_TASKS"]
    # Concurrent steps of a job need different ports, from the range without assigned ports.
    step = int(slurm["SLURM_JOB_ID"]) * 64 + int(slurm["SLURM_STEP_ID"])
    variables = {
        "RANK": slurm["SLURM_PROCID"],
        "LOCAL_RANK": slurm["SLURM_LOCALID"],
        "WORLD_SIZE": world_size,
        "LOCAL_WORLD_SIZE": re.split("[(,]", tasks)[0],  # of 4(x2), 4 on each of two nodes; 4,3 is refused later
        "GROUP_RANK": slurm["SLURM_NODEID"],
        "MASTER_PORT": slurm.get("MASTER_PORT", str(20_000 + step % 12_000)),
    }
    if "MASTER_ADDR" not in slurm and tasks == world_size:
        variables["MASTER_ADDR"] = "127.0.0.1"
    elif "MASTER_ADDR" not in slurm:
        from lightning.fabric.plugins.environments.slurm import SLURMEnvironment  # slow to import

        variables["MASTER_ADDR"] = SLURMEnvironment.resolve_root_node_address(slurm["SLURM_STEP_NODELIST"])
    return variables


def requeued_job() -> str | None:
    """The id of this SLURM job, if it has been requeued."""
    return os.environ.get("SLURM_JOB_ID") if int(os.environ.get("SLURM_RESTART_COUNT", 0)) else None


def requeue() -> str | None:
    """Requeue this SLURM job; returns the error message, if any. No-op outside SLURM."""
    if not (job := os.environ.get("SLURM_JOB_ID")):
        return None
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True)
    except OSError as error:
        return f"scontrol could not be started ({error.strerror})."
    return done.stderr.strip() or f"scontrol ended with status {done.returncode}." if done.returncode else None
