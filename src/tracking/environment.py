"""Where, with what and from which code a run was made."""

import hashlib
import os
import platform
import subprocess
import tempfile
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from src.paths import OUTPUTS, ROOT
from src.tracking.ownership import owner

PATCH = "code.patch"
# Changed and new files above this are more than a change of code; they are not kept.
_LARGEST_PATCH_BYTES = 1_000_000
_LOCK_FILE = ROOT / "requirements.lock"
_PACKAGES = ("torch", "torchvision", "lightning", "torchmetrics", "hydra-core", "tensorboard", "numpy")


@cache
def git(root: Path = ROOT) -> dict[str, Any] | None:
    """The commit the code is at, and what was changed since; None outside a repository or without git.

    Returns:
        ``commit``; ``dirty``, whether anything differs from it; ``patch``, the difference as git's own patch, with new
        files but for those that git ignores, or None where there is none or it is larger than a megabyte.
    """
    try:
        commit, top = _ask(root, "rev-parse", "HEAD", "--show-toplevel").decode().splitlines()
        changed = [Path(top, os.fsdecode(entry[3:])) for entry in _status(root)]
        size = sum(path.stat().st_size for path in changed if path.is_file())
        patch = _patch(root, Path(top)) if changed and size <= _LARGEST_PATCH_BYTES else None
    except (OSError, subprocess.CalledProcessError):
        return None
    if patch is not None and len(patch) > _LARGEST_PATCH_BYTES:
        patch = None
    return {"commit": commit, "dirty": bool(changed), "patch": patch}


def _ask(root: Path, *words: str, **variables: str) -> bytes:
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", **variables}  # looking must not refresh the index
    return subprocess.run(["git", *words], cwd=root, env=environment, check=True, capture_output=True).stdout


def _status(root: Path) -> list[bytes]:
    """What git sees as changed below ``root``: two letters, a space and a path each."""
    listing = _ask(root, "status", "--porcelain", "--untracked-files=all", "--no-renames", "-z", "--", *_code(root))
    return [entry for entry in listing.split(b"\0") if entry]


def _code(root: Path) -> list[str]:
    """What counts as code, for git: all below ``root`` but the runs, even where outputs/ is a symbolic link."""
    runs, elsewhere = ["outputs"], OUTPUTS.parent.resolve() / OUTPUTS.name
    if root.resolve() in elsewhere.parents:
        runs.append(str(elsewhere.relative_to(root.resolve())))
    return [".", *(f":(exclude,literal){folder}" for folder in runs)]


def _patch(root: Path, top: Path) -> bytes:
    """Everything that differs from the commit, new files too, through an index and a store of objects of our own."""
    objects = _ask(root, "rev-parse", "--git-path", "objects").decode().strip()
    with tempfile.TemporaryDirectory(prefix="patch-") as aside:
        own = {
            "GIT_INDEX_FILE": str(Path(aside, "index")),
            "GIT_OBJECT_DIRECTORY": aside,
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(Path(root, objects)),
        }
        _ask(top, "read-tree", "HEAD", **own)
        _ask(root, "add", "--all", "--", *_code(root), **own)
        return _ask(top, "diff", "--cached", "--binary", "--no-color", "--no-ext-diff", "HEAD", **own)


def environment(accelerator: str, devices: int, num_nodes: int, threads: int) -> dict[str, Any]:
    """The machine, the versions, and what of the machine the run uses."""
    return {
        **owner(),
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cpu_count": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
        "requirements_sha256": hashlib.sha256(_LOCK_FILE.read_bytes()).hexdigest() if _LOCK_FILE.exists() else None,
        "accelerator": accelerator,
        "devices": devices,
        "num_nodes": num_nodes,
        "threads": threads,
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }


def _cpu() -> str:
    """The processor's name; only Linux tells it in a file."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
