"""A shell in a pseudo-terminal: keys typed into it, and what it prints."""

import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

_ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[a-zA-Z]|[=>])|[\r\x07]")


class Shell:
    """An interactive shell, as a context manager.

    Args:
        command: the shell.
        folder: its working directory.
        variables: environment variables that are added to those of this process.
    """

    def __init__(self, command: Sequence[str], folder: Path, variables: Mapping[str, str]) -> None:
        self._terminal, terminal = pty.openpty()
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **variables, "TERM": "dumb", "COLUMNS": "200"},
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        os.close(terminal)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._terminal)

    def type(self, keys: str, until: str, timeout: float = 60) -> str:
        """Type keys, and return what is printed until it matches a pattern."""
        os.write(self._terminal, keys.encode())
        text, end = "", time.monotonic() + timeout
        while not re.search(until, text):
            if time.monotonic() > end:
                raise AssertionError(f"{until!r} is not in {text!r}")
            if select.select([self._terminal], [], [], 0.1)[0]:
                text = _ESCAPES.sub("", text + os.read(self._terminal, 4096).decode(errors="replace"))
        return text
