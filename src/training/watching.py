"""The callback that notifies the user while a run trains."""

import math
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from src.formatting import figure
from src.notifications import Event, Notifications
from src.records.record import Record


class NotifyOfMetrics(pl.Callback):
    """Sends a notification once a metric is NaN or infinite, and once the monitored metric has not improved for some epochs.

    Each at most once in a session. A resumed run starts to count its epochs again.

    Args:
        notifications: what the user has configured.
        directory: the run's directory.
        monitor: the monitored metric, if there is one.
        mode: whether it should fall (min) or rise (max).
    """

    def __init__(self, notifications: Notifications, directory: Path, monitor: str | None, mode: str) -> None:
        self.notifications, self.directory, self.monitor = notifications, directory, monitor
        self._sign = -1.0 if mode == "max" else 1.0
        self._best, self._best_epoch = math.inf, -1
        self._sent = set[str]()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Check the metrics logged so far."""
        if not trainer.is_global_zero:
            return
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        epoch = trainer.current_epoch + 1
        if wrong := [name for name, value in metrics.items() if not math.isfinite(value)]:
            self._send("nan", f"{', '.join(wrong)} not finite in epoch {epoch}", epoch, metrics)
        if self.monitor not in metrics or self.monitor in wrong:
            return
        value = self._sign * metrics[self.monitor]
        if value < self._best or self._best_epoch < 0:
            self._best, self._best_epoch = value, epoch
        elif epoch - self._best_epoch >= self.notifications.plateau:
            best = f"{figure(self._sign * self._best)} in epoch {self._best_epoch}"
            text = f"{self.monitor} has not improved for {epoch - self._best_epoch} epochs (best {best})"
            self._send("plateau", text, epoch, metrics)

    def _send(self, kind: str, text: str, epoch: int, metrics: dict[str, float]) -> None:
        if kind in self._sent:
            return
        self._sent.add(kind)
        run = Record.load(self.directory).values
        finite: dict[str, Any] = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        details = {
            "run": run["id"],
            "name": run["name"],
            "epoch": epoch,
            "metrics": finite,
            "directory": str(self.directory),
        }
        self.notifications.send(Event(kind, f"{run['id']} in training: {text}", details))
