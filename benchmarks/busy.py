"""Measure throughput, in samples per second, while another process keeps one core busy.

The contenders alternate: this project on all threads, on one thread and with ``trainer.threads=auto``, and the reference loop
with torch's defaults.

    # Five rounds, about four minutes on two cores
    python -m benchmarks.busy
    # Three rounds, as JSON
    python -m benchmarks.busy --rounds 3 --json
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.arguments import add_epochs, add_json, add_rounds
from benchmarks.turns import take_turn
from src.parsers import make_parser

IMAGES = 60_000
OURS, REFERENCE = "benchmarks.ours:ours", "benchmarks.loops:reference"
# Name, whether a core is busy, function, threads, and the function's arguments after the number of epochs.
CONTENDERS = [
    ("one thread, idle machine", False, OURS, 1, ()),
    ("all threads, idle machine", False, OURS, None, ("trainer.threads=ALL",)),
    ("trainer.threads=auto, idle machine", False, OURS, None, ()),
    ("one thread", True, OURS, 1, ()),
    ("all threads", True, OURS, None, ("trainer.threads=ALL",)),
    ("trainer.threads=auto", True, OURS, None, ()),
    ("reference", True, REFERENCE, None, ()),
    ("reference, idle machine", False, REFERENCE, None, ()),
]
FIRST = CONTENDERS[0][0]


@contextmanager
def another_process() -> Iterator[None]:
    """Keep a core busy."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def samples_per_s(is_busy: bool, function: str, threads: int | None, words: tuple[str, ...], epochs: int) -> float:
    """Samples per second over all epochs except the first."""
    cores = torch.get_num_threads()
    words = tuple(word.replace("ALL", str(cores)) for word in words)
    if is_busy:
        with another_process():
            seconds = take_turn(function, epochs + 1, *words, threads=threads or cores)
    else:
        seconds = take_turn(function, epochs + 1, *words, threads=threads or cores)
    return IMAGES / statistics.mean(seconds[1:])


def take_turns(rounds: int, epochs: int) -> list[dict[str, float]]:
    """Samples per second of each contender in each round; every second round runs in reverse order."""
    orders = [CONTENDERS, CONTENDERS[::-1]]
    return [
        {
            name: samples_per_s(is_busy, function, threads, words, epochs)
            for name, is_busy, function, threads, words in orders[number % 2]
        }
        for number in range(rounds)
    ]


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = make_parser("benchmarks.busy", __doc__)
    add_rounds(parser, 5)
    add_epochs(parser, 3)
    add_json(parser, "the rounds")
    return parser


def main() -> None:
    """Run the rounds and print the medians."""
    args = build_parser().parse_args()
    rounds = take_turns(args.rounds, args.epochs)
    if args.json:
        print(json.dumps(rounds))
        return
    title = f"{args.rounds} rounds, {torch.get_num_threads()} cores, torch {torch.__version__}"
    table = Table("samples per second", "median", "min", "max", title=title, title_justify="left")
    for heading in (f"ratio to {FIRST}", "min", "max"):
        table.add_column(heading)
    for name, *_ in CONTENDERS:
        values = [one[name] for one in rounds]
        ratios = [one[name] / one[FIRST] for one in rounds]
        figures = [f"{f(values):,.0f}" for f in (statistics.median, min, max)]
        table.add_row(name, *figures, *(f"{f(ratios):.2f}" for f in (statistics.median, min, max)))
    Console().print(table)


if __name__ == "__main__":
    main()
