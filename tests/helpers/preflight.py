"""The preflight check: what it answers to mistakes on the command line, and in the files of a copy of conf/."""

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from src.config.command_line import parse
from src.config.compose import preflight, register_resolvers
from src.errors import ConfigError
from src.paths import CONF
from tests.conftest import copy_of_the_project

_ANSWER = """
import json
import sys

from src.config.command_line import parse
from src.config.compose import preflight
from src.errors import ConfigError

for line in sys.stdin:
    message = None
    try:
        preflight(parse(json.loads(line)))
    except ConfigError as error:
        message = str(error)
    print(json.dumps(message), flush=True)
"""


def refusal(*words: str) -> str | None:
    """The error message for a command line; None where it is accepted."""
    try:
        preflight(parse(list(words)))
    except ConfigError as error:
        return str(error)
    return None


class Preflight:
    """The preflight check of a copy of the project, whose files may be changed, in a process that runs the copy.

    Args:
        folder: of the copy; it must not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.conf = copy_of_the_project(folder) / "conf"
        self._process = subprocess.Popen(
            [sys.executable, "-c", _ANSWER], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> "Preflight":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def refusal(self, *words: str) -> str | None:
        """As the function of that name, in the copy."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def refusal_of_experiment(self, text: str) -> str | None:
        """The error message for an experiment of this content below its first line."""
        (self.conf / "experiment" / "typo.yaml").write_text(f"# @package _global_\n{text}\n")
        return self.refusal("experiment=typo")


def keys(node: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in node.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from keys(value, f"{prefix}{key}.")


with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
    register_resolvers()
    DEFAULT = OmegaConf.to_container(compose("train"), resolve=True)
KEYS = sorted(set(keys(DEFAULT)))  # type: ignore[arg-type]


def misspelt(key: str) -> str:
    """The last word of a dotted key with its second letter doubled."""
    head, dot, last = key.rpartition(".")
    at = 2 if last.startswith("_") else 1
    return f"{head}{dot}{last[:at]}{last[at - 1 :]}"


def nested(*keys: str) -> str:
    """Dotted keys as YAML, each with the value 1."""
    node: dict[str, Any] = {}
    for key in keys:
        *parents, last = key.split(".")
        reduce(lambda inner, part: inner.setdefault(part, {}), parents, node)[last] = 1
    return yaml.safe_dump(node)
