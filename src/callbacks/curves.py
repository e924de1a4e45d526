"""Curves within an epoch."""

import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import lightning.pytorch as pl
from torch import Tensor

from src.data.chunks import samples_in


def epoch_metrics(trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, float]:
    """The metrics at the end of an epoch, including training means that the task logs only after the callbacks."""
    metrics: dict[str, Any] = {**trainer.callback_metrics, **getattr(pl_module, "epoch_means", dict)()}
    return {name: float(value) for name, value in metrics.items()}


def point_is_due(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Whether to log a point: every ``log_every_n_steps`` batches of Lightning's loop, and at the end of an epoch."""
    return (batch_idx + 1) % trainer.log_every_n_steps == 0 or trainer.is_last_batch  # type: ignore[attr-defined]


class Curves(pl.Callback):
    """Logs, whenever a point is due:

    ``train/loss_step`` and, in classification, ``train/acc_step``, of the last batch or chunk (the means of an epoch are
    ``train/loss`` and ``train/acc``); ``lr``, the learning rate of the last step, with the same name for every optimizer so that
    runs share a chart, further parameter groups as ``lr/pg2``, ..., and those of a second optimizer as ``lr/optimizer2``, ...;
    ``samples``, the number of training samples seen, for comparison of runs with different batch sizes; ``samples_per_s`` since
    the previous point, over all ranks.
    """

    accepts_chunks: ClassVar[bool] = True

    def __init__(self) -> None:
        self._seen = 0  # samples since the start of the training

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock, also for a run that is resumed within an epoch."""
        self._since, self._samples = time.perf_counter(), 0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restart the clock, to exclude validation."""
        self._since, self._samples = time.perf_counter(), 0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Store the learning rates of the step, before the schedule changes them."""
        self._lr = dict(_learning_rates(trainer))

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Tensor | Mapping[str, Any] | None,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Log a point when one is due."""
        samples = samples_in(batch, batch_idx, trainer)
        self._samples += samples
        self._seen += samples
        if not point_is_due(trainer, batch_idx):
            return
        found = outputs if isinstance(outputs, Mapping) else {}
        point = {f"{name}_step": found[name] for name in ("train/loss", "train/acc") if name in found}
        if not point and isinstance(loss := found.get("loss", outputs), Tensor) and loss.numel() == 1:
            point = {"train/loss_step": float(loss)}
        now = time.perf_counter()
        point |= {**self._lr, **found.get("lr", {}), "samples": self._seen}
        point["samples_per_s"] = self._samples / (now - self._since)
        self._since, self._samples = now, 0
        for logger in trainer.loggers:
            logger.log_metrics(point, trainer.global_step)

    def state_dict(self) -> dict[str, Any]:
        """State that a resumed run needs."""
        return {"samples": self._seen}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state."""
        self._seen = state_dict["samples"]


def _learning_rates(trainer: pl.Trainer) -> Iterator[tuple[str, float]]:
    for number, optimizer in enumerate(trainer.optimizers, 1):
        name = "lr" if number == 1 else f"lr/optimizer{number}"
        for group, settings in enumerate(optimizer.param_groups, 1):
            yield (name if group == 1 else f"{name}/pg{group}"), float(settings["lr"])
