"""Reproduction of a recorded run with its code, command line, threads and arithmetic, and comparison of the results."""

import contextlib
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from src.config.check import check
from src.errors import ConfigError, UserError
from src.masking import is_masked
from src.numerics import OFF
from src.paths import ROOT, from_root, outputs_dir, shown
from src.records.environment import environment
from src.records.find import all_runs, check_origin
from src.records.git import PATCH, git, worktree
from src.records.record import RECORD, Record
from src.records.settings import DATA_PATHS, as_word, differing_names, flat_settings
from src.records.summary import summary

_COMMIT = re.compile(r"[0-9a-f]{40,64}")
# Entries of the environment that can change a result.
_COUNTS = ("platform", "cpu", "python", "packages", "requirements_sha256")


class Recipe:
    """The information in a record that is needed to reproduce its run.

    Args:
        record: the run.

    Raises:
        UserError: the record lacks the required entries, or the run was imported.
    """

    def __init__(self, record: Record) -> None:
        check_origin(record)
        run = record.values
        self.record, self.id = record, run["id"]
        threads, strict = run["environment"].get("threads", 1), run["environment"].get("mkl_cbwr", OFF)
        self.variables = {"OMP_NUM_THREADS": str(threads), "MKL_CBWR": "" if strict == OFF else strict}
        self.overrides: list[str] = run.get("overrides", [])
        code = run.get("git") or {}
        self.in_git, self.dirty = bool(code), code.get("dirty")
        self.commit: str | None = code.get("commit")
        self.patch = record.directory / PATCH if code.get("patch") else None
        self.problem: str | None = code.get("problem")
        words_only = all(isinstance(word, str) and not word.startswith("-") for word in self.overrides)
        if not (words_only and (self.commit is None or _COMMIT.fullmatch(self.commit))):
            raise UserError(f"{record.directory / RECORD} was not written by this project.")

    @property
    def code_is_here(self) -> bool:
        """Whether the code in this directory is identical to the run's, as far as both are known."""
        patch = self.patch.read_bytes() if self.patch else None
        return git() == {"commit": self.commit, "dirty": self.dirty, "patch": patch, "problem": self.problem}

    def steps(self, folder: str = "../reproduced") -> list[str]:
        """The commands that reproduce the run."""
        variables = [f"{name}={value}" for name, value in self.variables.items()]
        train = shlex.join([*variables, "python", "-m", "src.train", *self.overrides])
        if self.commit is None or self.code_is_here:
            return [train]
        apply = [f"git -C {folder} apply --whitespace=nowarn {shlex.quote(str(self.patch))}"] if self.patch else []
        return [f"git worktree add --detach {folder} {self.commit}", *apply, f"cd {folder}", train]

    def warnings(self) -> list[str]:
        """Reasons why the results may differ, one message each."""
        found = []
        if not self.in_git:
            found.append("It was made outside git: its code is not known, and what is here takes its place.")
        elif self.commit is None:
            found.append(f"Its commit is not known ({self.problem}), and the code here takes its place.")
        elif self.problem:
            kept = "only in part" if self.patch else "not"
            found.append(f"What had been changed since its commit was {kept} recorded ({self.problem}).")
        elif self.dirty and self.patch is None:
            found.append("Its code had changes of more than a megabyte, which were not kept.")
        if (nodes := self.record.values["config"]["trainer"]["num_nodes"]) > 1:
            found.append(f"It was trained on {nodes} machines: start the command by torchrun on each.")
        if len(self.record.values.get("resumed", [])) and any("devices" in word for word in self.overrides):
            found.append("It was resumed, perhaps on another number of devices, which rounds differently.")
        there, here = self.record.values["environment"], environment()
        return found + [
            f"{key}: {_short(there.get(key), here[key])} there, {_short(here[key], there.get(key))} here."
            for key in _COUNTS
            if there.get(key) != here[key]
        ]

    def run_again(self, output: int | None = None) -> Record:
        """Run the command again, in a separate git worktree if the code here differs.

        Args:
            output: file descriptor to which the training prints; None: that of this process.

        Raises:
            UserError: the run cannot be reproduced, would have other settings than recorded, or fails.
        """
        if self.record.values["config"]["trainer"]["num_nodes"] > 1:
            raise UserError(f"{self.id} was trained on several machines: make it again by torchrun, as printed.")
        with self._code() as project:
            words = list(self.overrides)
            data = self.record.values["config"]["data"] or {}
            if project != ROOT:  # data files are not in git
                paths = {key: data[key] for key in DATA_PATHS if data.get(key) is not None}
                words += [f"data.{key}='{from_root(path)}'" for key, path in paths.items()]
            variables = {**self.variables, "OUTPUTS_DIR": str(outputs_dir()), "PYTHONPATH": str(project)}
            command = [sys.executable, "-m", "src.train", *words]
            surroundings = {**os.environ, **variables}
            self._check_settings(command, project, surroundings)
            with subprocess.Popen(command, cwd=project, env=surroundings, stdout=output) as training:
                training.wait()
        made = [run for run in all_runs() if run.values["environment"].get("pid") == training.pid]
        if training.returncode or not made:
            raise UserError(f"{self.id} could not be made again: the command ended with {training.returncode}.")
        made[-1].update(reproduces=self.id)
        return made[-1]

    def _check_settings(self, command: list[str], project: Path, surroundings: dict[str, str]) -> None:
        """Compare the configuration that a command composes now with the recorded one, before anything is trained."""
        asked = [*command, "--cfg", "job", "--resolve"]
        composed = subprocess.run(asked, cwd=project, env=surroundings, capture_output=True, text=True)
        if composed.returncode:
            raise UserError(f"{self.id} cannot be made again: {composed.stderr.strip().removeprefix('error: ')}")
        config = yaml.safe_load(composed.stdout)
        with contextlib.suppress(ConfigError):  # if the run's code has other settings than the code here
            config = check(config)  # fills in what a file may omit, as was done before recording
        recorded, now = flat_settings(self.record.values["config"]), flat_settings(config)
        # An integer may have been recorded as the equivalent fraction.
        names = [key for key in differing_names([recorded, now]) if recorded.get(key) != now.get(key)]
        moved = [f"data.{key}" for key in DATA_PATHS]
        if names := [key for key in names if not is_masked(recorded.get(key)) and key not in moved]:
            changes = ", ".join(f"{key} {as_word(recorded.get(key))} to {as_word(now.get(key))}" for key in names)
            raise UserError(
                f"{self.id} cannot be made again, because its command now gives other settings than recorded ({changes}): "
                "set the environment variables that its configuration reads as they were."
            )

    @contextmanager
    def _code(self) -> Iterator[Path]:
        if self.commit is None or self.code_is_here:
            yield ROOT
            return
        with tempfile.TemporaryDirectory(prefix="reproduce-") as aside:
            tree = Path(aside, "code")
            with worktree(tree, self.commit, self.patch) as project:
                yield project


def compare(one: Record, other: Record) -> list[tuple[str, float | None, float | None]]:
    """Name and both values of every metric of either run."""
    first, second = summary(one).metrics, summary(other).metrics
    return [(name, first.get(name), second.get(name)) for name in sorted(first | second)]


def _short(value: Any, other: Any) -> str:
    """A value on one line; for a table only the entries that differ."""
    if isinstance(value, dict) and isinstance(other, dict):
        return ", ".join(f"{name} {version}" for name, version in value.items() if other.get(name) != version)
    return "unknown" if value is None else str(value)[:40]


def describe(recipe: Recipe) -> str:
    """The steps and the warnings, as text."""
    commit = f" at commit {recipe.commit[:12]}" if recipe.commit else ""
    changes = f" with the changes in {shown(recipe.patch)}" if recipe.patch else ""
    lines = [f"{recipe.id} was made{commit}{changes}. To make it again:", ""]
    lines += [f"  {step}" for step in recipe.steps()]
    return "\n".join([*lines, "", *recipe.warnings()]).rstrip()
