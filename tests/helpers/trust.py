"""What the tests of test_trust.py share."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from src.paths import ROOT
from tests.conftest import Finished


def spawn(
    outputs: Path,
    *words: str,
    launcher: tuple[str, ...] = ("-m", "src.train"),
    prefix: Sequence[str] = (),
    **env: str,
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*prefix, sys.executable, *launcher, *words],
        cwd=ROOT,
        env={**os.environ, "OUTPUTS_DIR": str(outputs), "COLUMNS": "200", **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str], outputs: Path) -> Finished:
    said, _ = process.communicate(timeout=200)
    return Finished(process.returncode, said, said, outputs)


@pytest.fixture
def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


def task(number: int, port: int, outputs: Path, *words: str) -> subprocess.Popen[str]:
    """One of the two tasks of a step of SLURM's."""
    step = {"SLURM_JOB_ID": "77", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_NODEID": "0"}
    where = {"SLURM_STEP_TASKS_PER_NODE": "2", "SLURM_STEP_NODELIST": "localhost", "MASTER_PORT": str(port)}
    return spawn(outputs, *words, **step, **where, SLURM_PROCID=str(number), SLURM_LOCALID=str(number))


# Whatever a user has set, and wherever: git's own defaults are what is left of it.
SETTINGS = """
[diff]
    noprefix = true
    mnemonicPrefix = true
    algorithm = patience
    context = 0
    renames = copies
    external = false
    ignoreSubmodules = all
[diff "shout"]
    textconv = tr a-z A-Z <
    command = false
[core]
    abbrev = 5
    attributesFile = {folder}/attributes
    autocrlf = true
    fsmonitor = false
    hooksPath = {folder}/hooks
    quotePath = false
    whitespace = trailing-space,tab-in-indent
[apply]
    whitespace = error
    ignoreWhitespace = change
[color]
    ui = always
[status]
    showUntrackedFiles = no
[submodule]
    recurse = true
[commit]
    template = {folder}/none
"""


def unusual(project: Path, folder: Path) -> dict[str, str]:
    """Configure a repository in every way that changes what git prints; returns the same for the environment."""
    (folder / "hooks").mkdir(parents=True)
    for name in ("post-checkout", "post-index-change", "pre-commit"):
        (folder / "hooks" / name).write_text("#!/bin/sh\nexit 1\n")
        (folder / "hooks" / name).chmod(0o755)
    (folder / "attributes").write_text("*.py diff=shout\n")
    (project / ".git" / "info" / "attributes").write_text("*.py diff=shout\n")
    with (project / ".git" / "config").open("a") as file:
        file.write(SETTINGS.format(folder=folder))
    (folder / "config").write_text(SETTINGS.format(folder=folder))
    return {
        "GIT_CONFIG_GLOBAL": str(folder / "config"),
        "GIT_EXTERNAL_DIFF": "false",
        "GIT_DIFF_OPTS": "--unified=0",
        "GIT_INDEX_FILE": str(folder / "index"),
        "GIT_DIR": str(folder),
    }


FOUR = ("key-in-a-variable", "pw-of-the-command-line", "pw-of-a-file", "token-in-a-variable")


def secrets_in(*texts: str, below: Path) -> set[str]:
    content = [text.encode() for text in texts] + [path.read_bytes() for path in below.rglob("*") if path.is_file()]
    return {secret for secret in FOUR if any(secret.encode() in one for one in content)}
