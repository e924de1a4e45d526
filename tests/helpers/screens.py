"""What a terminal shows of a program's output, as HTML."""

import fcntl
import html
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from src.paths import ROOT

COLUMNS = 80


def in_a_terminal(module: str, *words: str, outputs: Path) -> str:
    """The output of ``python -m <module> <words>`` in a pseudo-terminal of 80 columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", module, *words],
        cwd=ROOT,
        env={**env, "OUTPUTS_DIR": str(outputs), "TERM": "xterm-256color"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    output = b""
    while chunk := read(ours):
        output += chunk
    os.close(ours)
    assert process.wait() == 0, output
    return output.decode()


def read(terminal: int) -> bytes:
    """The next bytes, or none at the end, which Linux reports as an error."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def final_lines(output: str) -> list[str]:
    """The lines that remain on the screen, with their colors: a status line is erased whenever it is drawn again."""
    lines, row = [""], 0
    for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\n]|[^\x1b\r\n]+", output):
        if token == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif token.endswith("A") and token.startswith("\x1b"):
            row -= int(token[2:-1] or 1)
        elif token == "\x1b[2K":
            lines[row] = ""
        elif not token.startswith(("\x1b", "\r")) or token.endswith("m"):
            lines[row] += token
    return lines


def as_html(lines: list[str]) -> str:
    """The lines as spans with inline colors."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), highlight=False)
    for line in lines:
        console.print(Text.from_ansi(line), soft_wrap=True)
    return console.export_html(theme=MONOKAI, inline_styles=True, code_format="{code}")


def prompt(command: str) -> str:
    """A command line as HTML."""
    return f'<span class="prompt">$</span> <b>{html.escape(command)}</b>\n'
