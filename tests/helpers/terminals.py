"""A terminal of a certain width, to start a command in."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path

from src.paths import ROOT

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def lines_in_terminal(outputs: Path, *words: str, width: int) -> list[str]:
    """The lines that ``python -m src.runs <words>`` displays in a terminal of ``width`` characters, without colours.

    A longer line would be wrapped by a terminal, and is returned as the terminal displays it.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    env = {**os.environ, "OUTPUTS_DIR": str(outputs), "TERM": "xterm"}
    env.pop("COLUMNS", None)
    with subprocess.Popen(
        [sys.executable, "-m", "src.runs", *words], cwd=ROOT, env=env, stdin=theirs, stdout=theirs, stderr=theirs
    ) as running:
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # what Linux raises at the end
            while part := os.read(ours, 65536):
                shown += part
    os.close(ours)
    assert running.returncode == 0, shown.decode(errors="replace")
    lines = _CONTROL.sub("", shown.decode()).replace("\r", "").splitlines()
    return [line[start : start + width] for line in lines for start in range(0, max(1, len(line)), width)]


class Session:
    """``python -m src.runs <words>`` in a terminal whose keys are pressed by a test.

    Args:
        outputs: the folder of the runs.
        words: the command line.
        size: columns and rows of the terminal.
        env: further environment variables.
    """

    def __init__(self, outputs: Path, *words: str, size: tuple[int, int], **env: str) -> None:
        self.output = b""
        self._position = 0
        self._ours, self._theirs = pty.openpty()
        columns, rows = size
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._before = termios.tcgetattr(self._theirs)
        environment = {**os.environ, "OUTPUTS_DIR": str(outputs), "TERM": "xterm", **env}
        for name in ("COLUMNS", "LINES"):
            environment.pop(name, None)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "src.runs", *words],
            cwd=ROOT,
            env=environment,
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            start_new_session=True,
        )

    def wait_for(self, text: str, seconds: float = 60) -> None:
        """Wait until the command displays a text in one piece, after the text that was waited for before."""
        until = time.monotonic() + seconds
        while (found := (shown := self._shown()).find(text, self._position)) < 0:
            assert time.monotonic() < until, shown[self._position :]
            self._read()
        self._position = found + len(text)

    def _shown(self) -> str:
        return _CONTROL.sub("", self.output.decode(errors="replace"))

    def press(self, keys: str) -> None:
        """Send keys as the terminal does."""
        os.write(self._ours, keys.encode())

    def end(self) -> int:
        """Wait until the command has ended, check that the terminal is as before, and return the exit status."""
        while self.process.poll() is None:
            self._read()
        while self._read():
            pass
        after = termios.tcgetattr(self._theirs)
        os.close(self._theirs)
        os.close(self._ours)
        assert after == self._before
        for mode in ("1049", "1000", "2004"):  # alternate screen, mouse, bracketed paste
            switches = re.findall(rf"\x1b\[\?{mode}([hl])", self.output.decode(errors="replace"))
            assert switches[-1:] in ([], ["l"]), mode
        assert re.findall(r"\x1b\[\?25([hl])", self.output.decode(errors="replace"))[-1:] in ([], ["h"])  # the cursor
        return self.process.returncode

    def _read(self) -> bytes:
        """What the command has written; empty if that is nothing for a while."""
        if not select.select([self._ours], [], [], 0.2)[0]:
            return b""
        part = os.read(self._ours, 65536)
        self.output += part
        return part
