"""The contender that is this project."""

import src  # noqa: F401  # sets the environment that torch reads when it is imported

# isort: split
import contextlib
import io
import tempfile
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from src.config.command_line import parse
from src.config.compose import preflight
from src.records.record import Record
from src.training.fit import fit


class EpochClock(pl.Callback):
    """Measures the seconds from the start of one epoch to the start of the next, including checkpoints, curves and record.

    Args:
        with_test: include the test in the last epoch.
    """

    def __init__(self, with_test: bool) -> None:
        self.with_test = with_test
        self.ticks: list[float] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the time."""
        self.ticks.append(time.perf_counter())

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the time."""
        if not self.with_test:
            self.ticks.append(time.perf_counter())

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the time."""
        if self.with_test:
            self.ticks.append(time.perf_counter())

    @property
    def seconds(self) -> list[float]:
        """Seconds of each epoch."""
        return [after - before for before, after in zip(self.ticks, self.ticks[1:], strict=False)]


def ours(epochs: int, *overrides: str) -> list[float]:
    """Train as the command line does, with all features enabled and no terminal output. Returns the seconds of each epoch."""
    [config] = preflight(parse(["experiment=article", "trainer=cpu", f"trainer.max_epochs={epochs}", *overrides]))
    clock = EpochClock(with_test=config["data"]["val_size"] > 0)
    with tempfile.TemporaryDirectory() as directory:
        environment: dict[str, Any] = {}
        Record.start(
            Path(directory), sweep=None, config=config, overrides=[], command="", git=None, environment=environment
        )
        with contextlib.redirect_stdout(io.StringIO()):
            fit(config, directory, [clock])
    return clock.seconds
