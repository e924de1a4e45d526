"""``--frozen``: a sweep whose jobs all run the code as of its start, from a git worktree."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from src.errors import ConfigError
from src.launching.stop import pass_on_stop
from src.paths import FROZEN_FROM, ROOT, outputs_dir
from src.records.git import worktree
from src.records.sweep import Sweep


def check_can_freeze(code: Mapping[str, Any] | None) -> None:
    """Check that the current code can be checked out again.

    Args:
        code: the state of the git repository.

    Raises:
        ConfigError: there is no commit, or the changes cannot be recorded in full.
    """
    problem = "the project is outside git" if code is None else code["problem"]
    if problem or not code or code["commit"] is None:
        raise ConfigError(f"--frozen: the code cannot be kept as it is ({problem}): commit it, or leave --frozen out.")


def is_frozen(sweep: Sweep) -> bool:
    """Whether the jobs of a sweep must run in a worktree with its own code."""
    return bool(sweep.values.get("frozen")) and FROZEN_FROM not in os.environ


def run_frozen(sweep: Sweep, words: Sequence[str]) -> int:
    """Resume a sweep in a worktree of its commit; returns the exit status.

    Args:
        sweep: its record.
        words: command line arguments other than ``-m resume=``.

    Raises:
        UserError: git cannot check out the commit.
    """
    code, tree = sweep.values["git"], sweep.directory / "code"
    patch = sweep.directory / code["patch"] if code["patch"] else None
    shutil.rmtree(tree, ignore_errors=True)  # of a session that was killed
    with worktree(tree, code["commit"], patch) as project:
        variables = {FROZEN_FROM: str(ROOT), "OUTPUTS_DIR": str(outputs_dir()), "PYTHONPATH": str(project)}
        command = [sys.executable, "-m", "src.train", "-m", f"resume={sweep.directory}", *words]
        pass_on_stop()
        with subprocess.Popen(command, cwd=project, env={**os.environ, **variables}) as process:
            status = process.wait()
    return status if status >= 0 else 128 + signal.Signals(-status)
