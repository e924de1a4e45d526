"""Seconds of an epoch: this project with everything on, the same by hand, and the usual tutorial's loop.

    python -m benchmarks.epoch                          five rounds, a few minutes on two cores
    python -m benchmarks.epoch --rounds 9 --threads 1

The contenders take turns, because a shared machine changes its speed from minute to minute; the ratios are taken
within each round. The first epoch of every turn is not counted.
"""

import argparse
import contextlib
import io
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from rich.console import Console
from rich.table import Table

from benchmarks import loops
from benchmarks.jax_scan import by_scan
from src.config.command_line import parse
from src.config.compose import preflight
from src.data.mnist import MNIST
from src.fit import fit
from src.paths import ROOT, user_path
from src.tracking.record import Record

DATA = ROOT / "data"


class EpochClock(pl.Callback):
    """Seconds from the start of one epoch to the start of the next, checkpoints, curves and record included.

    Args:
        with_test: count the test to the last epoch.
    """

    def __init__(self, with_test: bool) -> None:
        self.with_test = with_test
        self.ticks: list[float] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the time."""
        self.ticks.append(time.perf_counter())

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the time."""
        if not self.with_test:
            self.ticks.append(time.perf_counter())

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the time."""
        if self.with_test:
            self.ticks.append(time.perf_counter())

    @property
    def seconds(self) -> list[float]:
        """One figure an epoch."""
        return [after - before for before, after in zip(self.ticks, self.ticks[1:], strict=False)]


def ours(epochs: int, *overrides: str, with_test: bool = False) -> list[float]:
    """This project, everything on, as the command line would run it. Seconds of each epoch; its lines are not printed."""
    [config] = preflight(parse(["experiment=article", "trainer=cpu", f"trainer.max_epochs={epochs}", *overrides]))
    clock = EpochClock(with_test)
    with tempfile.TemporaryDirectory() as directory:
        environment: dict[str, Any] = {}
        Record.start(
            Path(directory), sweep=None, config=config, overrides=[], command="", git=None, environment=environment
        )
        with contextlib.redirect_stdout(io.StringIO()):
            fit(config, directory, [clock])
    torch.use_deterministic_algorithms(False)  # fit has set it for the whole process; the other contenders do without
    return clock.seconds


def by_hand_validated(epochs: int) -> list[float]:
    """The hand-written loop with 5,000 images held out, validated and saved after every epoch, tested after the last."""
    with tempfile.TemporaryDirectory() as directory:
        return loops.by_hand(DATA, epochs, val_size=5000, checkpoint=Path(directory, "model.pt"))


def contenders() -> dict[str, Callable[[int], list[float]]]:
    """Every contender's name, and what gives seconds of each of so many epochs."""
    return {
        "by hand": lambda epochs: loops.by_hand(DATA, epochs),
        "article": ours,
        "by hand, val, save, test": by_hand_validated,
        "article, val_size=5000, test": lambda epochs: ours(epochs, "data.val_size=5000", with_test=True),
        "article, callbacks=none": lambda epochs: ours(epochs, "callbacks=none"),
        "article, callbacks=full": lambda epochs: ours(epochs, "callbacks=full"),
        **({"jax, one scan": lambda epochs: by_scan(DATA, epochs)} if find_spec("jax") else {}),
        "tutorial": lambda epochs: loops.tutorial(DATA, min(epochs, 2)),
    }


# What each is compared with; else with the loop written by hand.
OTHERS = {
    "article, val_size=5000, test": ["by hand, val, save, test"],
    "article": ["by hand", "article, callbacks=none", "jax, one scan", "tutorial"],
    "article, callbacks=full": ["article, callbacks=none"],
}


def take_turns(names: Sequence[str], rounds: int, epochs: int, threads: int) -> list[dict[str, float]]:
    """Seconds of an epoch of each contender in each round.

    Every second round goes the other way round, because who comes later may find a warmer or a busier machine.
    """
    torch.set_num_threads(threads)
    # A loop without Lightning would not pay for it; see src/fit.py.
    os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
    MNIST(dir=str(DATA)).prepare_data()
    known = contenders()
    orders = [list(names), list(reversed(names))]
    return [
        {name: statistics.mean(known[name](epochs + 1)[1:]) for name in orders[number % 2]} for number in range(rounds)
    ]


def main() -> None:
    """Run the rounds and print the medians."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.epoch", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=4, help="counted in each turn, after one that is not")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these alone", choices=list(contenders()))
    parser.add_argument("--json", action="store_true", help="print the rounds instead of the table")
    parser.add_argument("--picture", type=user_path, metavar="FILE", help="draw the medians, too")
    args = parser.parse_args()
    names = args.only or list(contenders())
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
        for other in [one for one in OTHERS.get(name, ["by hand"]) if one in names] or [name]:
            columns = [r[name] for r in rounds], [r[name] / r[other] for r in rounds]
            figures = [f"{f(values):.2f}" for values in columns for f in (statistics.median, min, max)]
            table.add_row(name, *figures[:3], other, *figures[3:])
    Console().print(table)
    if args.picture:
        draw({name: [r[name] for r in rounds] for name in names}, args.picture)


def draw(seconds: dict[str, list[float]], path: Path) -> None:
    """A bar for each contender, from the median's, with a line from the least to the largest."""
    from matplotlib.figure import Figure

    names = list(reversed(seconds))
    medians = [statistics.median(seconds[name]) for name in names]
    below = [median - min(seconds[name]) for name, median in zip(names, medians, strict=True)]
    above = [max(seconds[name]) - median for name, median in zip(names, medians, strict=True)]
    figure = Figure(figsize=(8, 0.45 * len(names) + 0.8), layout="constrained")
    axes = figure.subplots()
    colors = ["tab:orange" if name.startswith("article") else "tab:gray" for name in names]
    axes.barh(names, medians, xerr=[below, above], color=colors, height=0.6)
    axes.set_xlabel("seconds of an epoch: median, least and largest")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
