"""Environment of a run: machine, package versions and process."""

import hashlib
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from src.paths import ROOT
from src.records.lock import owner

_LOCK_FILE = ROOT / "requirements.lock"
_PACKAGES = ("torch", "torchvision", "lightning", "torchmetrics", "hydra-core", "tensorboard", "numpy")


def environment() -> dict[str, Any]:
    """Describe the machine, the package versions and this process."""
    return {
        **owner(),
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cpu_count": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
        "requirements_sha256": hashlib.sha256(_LOCK_FILE.read_bytes()).hexdigest() if _LOCK_FILE.exists() else None,
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }


def _cpu() -> str:
    """The processor's name, from /proc/cpuinfo on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
