"""Selection of a run's devices. Imports torch, but computes nothing, so that processes can still be forked."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from src.errors import ConfigError
from src.launching.share import threads_a_job

# Maximum number of processes or threads per core; more would only wait for each other.
_PER_CORE = 4


@dataclass(frozen=True)
class Hardware:
    """The devices of one run.

    Attributes:
        accelerator: ``cuda``, ``mps`` or ``cpu``.
        devices: number of devices on this machine, with one process each.
        num_nodes: number of machines.
        threads: CPU threads per process.
    """

    accelerator: str
    devices: int
    num_nodes: int
    threads: int

    @property
    def world(self) -> int:
        """Number of processes on all machines."""
        return self.devices * self.num_nodes


def choose(trainer: Mapping[str, Any]) -> Hardware:
    """Select devices of this machine by the trainer group's settings.

    Raises:
        ConfigError: this machine lacks the configured devices.
    """
    _threads_of_environment()
    gpus = torch.cuda.device_count()  # queries NVML without initializing CUDA, so that this process can fork
    mps = torch.backends.mps.is_available()
    wanted, devices, threads = trainer["accelerator"], trainer["devices"], trainer["threads"]
    limit = _PER_CORE * (os.cpu_count() or 1)
    if wanted == "gpu" and not gpus:
        raise ConfigError(
            "trainer.accelerator=gpu: this machine has no GPU that torch can use; set trainer=auto or cpu."
        )
    if wanted == "mps" and not mps:
        raise ConfigError("trainer.accelerator=mps: this machine has no Apple GPU; set trainer=auto or cpu.")
    if wanted == "gpu" or (wanted == "auto" and gpus):
        accelerator, available = "cuda", gpus
    elif wanted == "mps" or (wanted == "auto" and mps and devices == 1):
        accelerator, available = "mps", 1
    else:
        accelerator, available = "cpu", limit
    if devices == "auto":
        devices = 2 if accelerator == "cpu" else available
    if devices > available:
        unit = "CPU processes" if accelerator == "cpu" else "GPUs"
        raise ConfigError(
            f"trainer.devices={devices}: this machine supports at most {available} {unit}; set at most that."
        )
    if trainer["precision"] == "16-mixed" and accelerator == "cpu":
        raise ConfigError("trainer.precision=16-mixed needs a GPU; bf16-mixed works on a CPU.")
    if trainer["precision"] == "64-true" and accelerator == "mps":
        raise ConfigError("trainer.precision=64-true: Apple GPUs have no float64; set trainer=cpu.")
    if threads == "auto":
        threads = _share_of_threads(devices)
    elif threads * devices > limit:
        raise ConfigError(
            f"trainer.threads={threads}, each of {devices} processes: this machine supports at most {limit} threads; set at "
            f"most {max(1, limit // devices)}, or auto."
        )
    return Hardware(accelerator, devices, trainer["num_nodes"], threads)


def visible_gpus(hardware: Hardware) -> list[str]:
    """Identifiers, as in ``CUDA_VISIBLE_DEVICES``, of all GPUs visible to a run on this hardware."""
    if hardware.accelerator != "cuda":
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(number) for number in range(torch.cuda.device_count())]


def _share_of_threads(processes: int) -> int:
    """CPU threads for each of ``processes`` on this machine: an equal share of the cores, or OMP_NUM_THREADS."""
    if (shared := threads_a_job()) is not None:
        return max(1, shared // processes)
    return _threads_of_environment() or max(1, torch.get_num_threads() // processes)


def _threads_of_environment() -> int | None:
    """The value of OMP_NUM_THREADS, if it is set."""
    wish = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]  # further numbers apply to nested regions
    if wish and not (wish.isdigit() and int(wish)):
        raise ConfigError(f"OMP_NUM_THREADS={wish!r} must be a whole number of at least 1; or leave it unset.")
    return int(wish) if wish else None
