"""Warnings about a training that does not improve, or a disk that is nearly full."""

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import lightning.pytorch as pl

from src.bounds import Count, Metric, Mode, NotNegative
from src.callbacks.curves import epoch_metrics
from src.formatting import figure
from src.records.record import Record

log = logging.getLogger(__name__)


class Watch(pl.Callback):
    """Warns after an epoch, in the terminal, the log and the record; each warning once until its condition has cleared."""

    def __init__(
        self,
        *,
        monitor: Annotated[Metric | None, "metric that should improve; null: none is watched"],
        mode: Annotated[Mode, "whether the metric should fall or rise"] = "max",
        patience_epochs: Annotated[Count, "epochs without improvement before the warning"] = 10,
        min_free_mb: Annotated[
            NotNegative, "free space on the run's disk below which there is a warning, in MB"
        ] = 500.0,
    ) -> None:
        self.monitor, self.mode = monitor, mode
        self.patience_epochs, self.min_free_mb = patience_epochs, min_free_mb
        self._best: float | None = None
        self._best_epoch = 0
        self._stalled = self._full = False

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Check the metric and the free disk space."""
        self._look_at_metric(trainer, epoch_metrics(trainer, pl_module))
        if trainer.is_global_zero:
            self._look_at_disk(trainer)

    def _look_at_metric(self, trainer: pl.Trainer, metrics: Mapping[str, float]) -> None:
        if self.monitor is None or self.monitor not in metrics:
            return
        value, epoch = metrics[self.monitor], trainer.current_epoch
        better = self._best is None or (value > self._best if self.mode == "max" else value < self._best)
        if better:
            self._best, self._best_epoch, self._stalled = value, epoch, False
        elif epoch - self._best_epoch >= self.patience_epochs and not self._stalled:
            self._stalled = True
            best = f"{figure(self._best)} in epoch {self._best_epoch + 1}"
            _warn(
                trainer,
                f"{self.monitor} has not improved for {self.patience_epochs} epochs (best: {best}): lower the learning rate, "
                "or end such trainings by callbacks=early_stopping.",
            )

    def _look_at_disk(self, trainer: pl.Trainer) -> None:
        free = shutil.disk_usage(trainer.default_root_dir).free / 1024**2
        if free >= self.min_free_mb:
            self._full = False
        elif not self._full:
            self._full = True
            _warn(
                trainer,
                f"{trainer.default_root_dir} has {free:.0f} MB of disk left, less than {self.min_free_mb:g}: free some, "
                "for example by python -m src.runs gc.",
            )

    def state_dict(self) -> dict[str, Any]:
        """State that a resumed run needs."""
        return {"best": self._best, "best_epoch": self._best_epoch, "stalled": self._stalled}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state."""
        self._best, self._best_epoch = state_dict["best"], state_dict["best_epoch"]
        self._stalled = state_dict["stalled"]


def _warn(trainer: pl.Trainer, text: str) -> None:
    if trainer.is_global_zero:
        log.warning("warning: %s", text)
        Record.load(Path(trainer.default_root_dir)).warn(text)
