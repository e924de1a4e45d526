"""Compare seconds per epoch: this project with all features enabled, a reference loop, and a typical tutorial's loop.

The contenders alternate, because the speed of a shared machine varies from minute to minute; ratios are computed within each
round. The first epoch of every turn is a warm-up and is not measured.

    # Five rounds, a few minutes on two cores
    python -m benchmarks.epoch
    # Nine rounds on one thread
    python -m benchmarks.epoch --rounds 9 --threads 1
"""

import argparse
import json
import platform
import statistics
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.arguments import add_epochs, add_json, add_rounds, add_threads
from benchmarks.turns import take_turn
from src.data.mnist import MNIST
from src.parsers import make_parser
from src.paths import ROOT

# The function of each contender, and its arguments after the number of epochs.
CONTENDERS: dict[str, tuple[str, *tuple[Any, ...]]] = {
    "reference": ("benchmarks.loops:reference",),
    "reference, flushed": ("benchmarks.loops:reference_flushed",),
    "article": ("benchmarks.ours:ours",),
    "reference, val, save, test": ("benchmarks.loops:reference_validated",),
    "article, val_size=5000, test": ("benchmarks.ours:ours", "data.val_size=5000"),
    "article, callbacks=none": ("benchmarks.ours:ours", "callbacks=none"),
    "article, callbacks=full": ("benchmarks.ours:ours", "callbacks=full"),
    **({"jax, one scan": ("benchmarks.jax_scan:by_scan",)} if find_spec("jax") else {}),
    "tutorial": ("benchmarks.loops:tutorial",),
}

# The baselines of each contender; the reference loop by default.
OTHERS = {
    "article, val_size=5000, test": ["reference, val, save, test"],
    "article": ["reference", "reference, flushed", "article, callbacks=none", "jax, one scan", "tutorial"],
    "article, callbacks=full": ["article, callbacks=none"],
}


def take_turns(names: Sequence[str], rounds: int, epochs: int, threads: int) -> list[dict[str, float]]:
    """Seconds per epoch of each contender in each round.

    Every second round runs in reverse order, because a contender that runs later may find a warmer or a busier machine.
    """
    MNIST(dir=str(ROOT / "data")).prepare_data()
    orders = [list(names), list(reversed(names))]

    def turn(name: str) -> float:
        function, *more = CONTENDERS[name]
        return statistics.mean(take_turn(function, epochs + 1, *more, threads=threads)[1:])

    return [{name: turn(name) for name in orders[number % 2]} for number in range(rounds)]


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = make_parser("benchmarks.epoch", __doc__)
    add_rounds(parser, 5)
    add_epochs(parser, 4)
    add_threads(parser, torch.get_num_threads())
    text = f"Measure only these contenders: {', '.join(CONTENDERS)} (default: all)."
    parser.add_argument("--only", nargs="+", metavar="NAME", help=text, choices=list(CONTENDERS))
    add_json(parser, "the rounds")
    return parser


def main() -> None:
    """Run the rounds and print the medians."""
    args = build_parser().parse_args()
    names = args.only or list(CONTENDERS)
    rounds = take_turns(names, args.rounds, args.epochs, args.threads)
    if args.json:
        print(json.dumps({"threads": args.threads, "torch": torch.__version__, "rounds": rounds}))
        return
    table = Table(
        title=f"{args.rounds} rounds, {args.threads} threads, torch {torch.__version__}, {platform.machine()}",
        title_justify="left",
    )
    for heading in ("epoch of", "median s", "min", "max", "compared with", "ratio", "min", "max"):
        table.add_column(heading)
    for name in names:
        for other in [one for one in OTHERS.get(name, ["reference"]) if one in names] or [name]:
            columns = [r[name] for r in rounds], [r[name] / r[other] for r in rounds]
            figures = [f"{f(values):.2f}" for values in columns for f in (statistics.median, min, max)]
            table.add_row(name, *figures[:3], other, *figures[3:])
    Console().print(table)


if __name__ == "__main__":
    main()
