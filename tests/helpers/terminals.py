"""A terminal of a certain width, to start a command in."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
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
