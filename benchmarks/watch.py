"""Measure the seconds that ``python -m src.runs watch`` takes with many records, in a pseudo-terminal of 80 columns.

It prints the time until the first runs are displayed, until all records are read, and until a key has an effect before and
after that; then the time of a refresh, which runs in a thread while keys are handled. The records are those of
``benchmarks.table``.

    # 10,000 records
    python -m benchmarks.watch
    # 1,000 records
    python -m benchmarks.watch --records 1000
"""

import argparse
import fcntl
import os
import pty
import re
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

from benchmarks.table import make_records
from src.parsers import make_parser
from src.paths import ROOT
from src.views.monitor import Monitor, View

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = make_parser("benchmarks.watch", __doc__)
    text = "Make N records, at least 1,000 (default: 10000)."
    parser.add_argument("--records", type=int, default=10_000, metavar="N", help=text)
    return parser


def main() -> None:
    args = build_parser().parse_args()
    with tempfile.TemporaryDirectory() as outputs:
        environment = make_records(Path(outputs), args.records)
        for name, taken in in_a_terminal(environment, args.records).items():
            print(f"{name:<40}{taken:6.2f} s")
        os.environ["OUTPUTS_DIR"] = outputs
        frames = refreshes(10)
    print(f"{'refresh, 10 times, median (min to max)':<40}{statistics.median(frames):6.3f} s", end=" ")
    print(f"({min(frames):.3f} to {max(frames):.3f})")


def in_a_terminal(environment: dict[str, str], records: int) -> dict[str, float]:
    """Seconds of the steps of a session."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "src.runs", "watch"],
        cwd=ROOT,
        env={**environment, "TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )

    def until(text: str) -> float:
        shown = ""
        while text not in shown:
            shown = _CONTROL.sub("", shown + os.read(ours, 65536).decode(errors="replace"))
        return time.perf_counter()

    def press(key: str, text: str) -> float:
        pressed = time.perf_counter()
        os.write(ours, key.encode())
        return until(text) - pressed

    taken = {"first runs displayed": until("of ") - began}
    taken["a key while records are read"] = press("s", "order: best")
    taken["all records read"] = until(f"of {records:,}") - began
    taken["a key afterwards"] = press("s", "order: status")
    os.write(ours, b"q")
    taken["end"] = -time.perf_counter()
    process.wait()
    taken["end"] += time.perf_counter()
    return taken


def refreshes(count: int) -> list[float]:
    """Seconds of refreshes that find nothing new, after all records have been read."""
    monitor, view, times = Monitor(), View(), []
    while monitor.frame(view).pending:
        pass
    for _ in range(count):
        time.sleep(1)
        began = time.perf_counter()
        monitor.frame(view)
        times.append(time.perf_counter() - began)
    return times


if __name__ == "__main__":
    main()
