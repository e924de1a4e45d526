"""What every logger of this project has in common, and the plainest of them."""

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_only


class OnOptimizerStep:
    """Puts every point on the optimizer step, whoever logs it; Lightning by itself counts chunks.

    To be mixed in before a logger of Lightning's. ``open_session`` is called once before the training, ``close`` after
    the test.
    """

    trainer: pl.Trainer | None = None

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Write scalars at the trainer's optimizer step, without the epoch's number that Lightning adds to each point."""
        scalars = {name: value for name, value in metrics.items() if name != "epoch"}
        super().log_metrics(scalars, self.trainer.global_step if self.trainer is not None else step)  # type: ignore[misc]

    @rank_zero_only
    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """The configuration is in the record; Lightning would write its own idea of it."""

    @rank_zero_only
    def open_session(self, config: Mapping[str, Any], trainer: pl.Trainer) -> None:
        """Follow the trainer's steps."""
        self.trainer = trainer

    @rank_zero_only
    def close(self) -> None:
        """Write what is still to be written."""
        self.save()  # type: ignore[attr-defined]


class CSV(OnOptimizerStep, CSVLogger):
    """Writes ``metrics.csv`` into the run's directory: a row for each step at which something was logged.

    Args:
        directory: the run's directory.
    """

    def __init__(self, *, directory: str) -> None:
        super().__init__(save_dir=directory, name="", version="")

    @rank_zero_only
    def save(self) -> None:
        """Write the rows; no hparams.yaml, the configuration is in the record."""
        self.experiment.save()
