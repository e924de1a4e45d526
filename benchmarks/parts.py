"""Break down the time of an epoch into its parts.

Timers wrap functions of the project. A part nested in another starts with that part's name; the remainder of the epoch is
Lightning's loop. A timer costs about a microsecond per call.

    # Eight epochs of experiment=article
    python -m benchmarks.parts
    # On one thread, with dropout
    python -m benchmarks.parts --threads 1 model.dropout=0.2
"""

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import lightning.pytorch as pl
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.arguments import add_threads
from src.callbacks.curves import Curves
from src.callbacks.gradients import GradientNorm
from src.callbacks.progress import Progress
from src.config.command_line import parse
from src.config.compose import preflight
from src.data.chunks import ChunkLoader
from src.data.normalize import Normalize
from src.fast.backprop import Backprop
from src.fast.classification import ChunkedClassifier
from src.fast.steps import Steps
from src.parsers import make_parser
from src.records.record import Record
from src.training.fit import fit
from src.training.recorder import RunRecorder

# Name, owner, method; a name that begins with another's denotes a nested part.
PARTS: list[tuple[str, type, str]] = [
    ("fetching chunks", ChunkLoader, "_chunk"),
    ("normalisation", Normalize, "forward"),
    ("steps", ChunkedClassifier, "training_step"),
    ("steps, written-out gradients", Backprop, "__call__"),
    ("steps, autograd's backward", Steps, "_backward"),
    ("steps, optimizer and schedule", Steps, "_step"),
    ("curves", Curves, "on_train_batch_end"),
    ("gradient norm", GradientNorm, "on_train_batch_end"),
    ("bar", Progress, "on_train_batch_end"),
    ("checkpoints", pl.Trainer, "save_checkpoint"),
    ("record", RunRecorder, "on_train_epoch_start"),
]


class Clock(pl.Callback):
    """Measures from the start of the third epoch to the start of the last."""

    def __init__(self, spent: dict[str, float]) -> None:
        self.spent, self.found = spent, dict[str, float]()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the measurement in the third epoch, end it in the last."""
        now = time.perf_counter()
        if trainer.current_epoch == 2:
            self.spent.clear()
            self.start = now
        elif trainer.current_epoch + 1 == trainer.max_epochs:
            epochs = trainer.current_epoch - 2
            self.found = {name: seconds / epochs for name, seconds in self.spent.items()}
            self.found["epoch"] = (now - self.start) / epochs


@contextmanager
def timed(spent: dict[str, float], name: str, owner: type, method: str) -> Iterator[None]:
    """Accumulate the time spent in a method."""
    original = getattr(owner, method)

    def call(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return original(*args, **kwargs)
        finally:
            spent[name] += time.perf_counter() - start

    with mock.patch.object(owner, method, call):
        yield


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = make_parser("benchmarks.parts", __doc__)
    add_threads(parser, torch.get_num_threads())
    text = "Choices and settings as for python -m src.train."
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help=text)
    return parser


def main() -> None:
    """Train, and print the time of each part."""
    args = build_parser().parse_args()
    torch.set_num_threads(args.threads)
    [config] = preflight(parse(["experiment=article", "trainer=cpu", "trainer.max_epochs=8", *args.overrides]))
    spent: dict[str, float] = defaultdict(float)
    clock = Clock(spent)
    with tempfile.TemporaryDirectory() as directory:
        Record.start(Path(directory), sweep=None, config=config, overrides=[], command="", git=None, environment={})
        with ExitStack() as stack:
            for part in PARTS:
                stack.enter_context(timed(spent, *part))
            fit(config, directory, [clock])
    found = clock.found
    whole = found.pop("epoch")
    table = Table("part of an epoch", "seconds", "share", title=f"{args.threads} threads", title_justify="left")
    for name, *_ in PARTS:
        if name in found:
            table.add_row(name, f"{found[name]:.4f}", f"{found[name] / whole:.0%}")
    rest = whole - sum(seconds for name, seconds in found.items() if "," not in name)
    table.add_row("Lightning's loop and the rest", f"{rest:.4f}", f"{rest / whole:.0%}")
    table.add_row("epoch", f"{whole:.4f}", "100%")
    Console().print(table)


if __name__ == "__main__":
    main()
