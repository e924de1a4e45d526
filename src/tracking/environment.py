"""Where and with what a run was made."""

import os
import platform
import socket
import subprocess
from functools import cache
from importlib.metadata import version
from typing import Any

from src.paths import ROOT

_PACKAGES = ("torch", "torchvision", "lightning", "torchmetrics", "hydra-core", "tensorboard", "numpy")


@cache
def git() -> dict[str, Any] | None:
    """The commit the code is at and whether it was changed since; None outside a repository or without git."""

    def ask(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()

    try:
        return {"commit": ask("rev-parse", "HEAD"), "dirty": bool(ask("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return None


def environment(accelerator: str, devices: int, num_nodes: int, threads: int) -> dict[str, Any]:
    """The machine, the versions, and what of the machine the run uses."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
        "accelerator": accelerator,
        "devices": devices,
        "num_nodes": num_nodes,
        "threads": threads,
    }
