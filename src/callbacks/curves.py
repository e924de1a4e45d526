"""What happens within an epoch, as curves."""

import time
from typing import Any, cast

import lightning.pytorch as pl

from src.data.chunks import Chunk, ChunkLoader


def point_is_due(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Whether this chunk gets a point: every ``log_every_n_steps`` chunks, and at the end of an epoch."""
    return (batch_idx + 1) % trainer.log_every_n_steps == 0 or trainer.is_last_batch  # type: ignore[attr-defined]


class Curves(pl.Callback):
    """Logs, whenever a point is due:

    ``train/loss_step`` and ``train/acc_step``, means over the steps of the last chunk (an epoch's own means are
    ``train/loss`` and ``train/acc``); ``lr``, the learning rate of the last step, one name for every optimizer so that all
    runs share a chart, and that of further parameter groups as ``lr/pg2``, ...; ``samples``, the training samples seen, the
    axis on which runs of different batch sizes compare; ``samples_per_s`` since the point before, over all ranks.
    """

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock; a run that goes on within an epoch does not come by the epoch's start."""
        self._since, self._samples = time.perf_counter(), 0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock anew: validation is left out."""
        self._since, self._samples = time.perf_counter(), 0

    def on_train_batch_end(  # type: ignore[override]
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: dict[str, Any],
        batch: Chunk,
        batch_idx: int,
    ) -> None:
        """Log a point when one is due."""
        self._samples += sum(batch.totals)
        if not point_is_due(trainer, batch_idx):
            return
        loader = cast(ChunkLoader, trainer.train_dataloader)
        earlier = trainer.current_epoch * len(loader.labels) + batch.first_step * loader.batch_size
        point = {
            "train/loss_step": outputs["train/loss"],
            "train/acc_step": outputs["train/acc"],
            # Not as the optimizer has it: a schedule has moved that on to the next step.
            **{"lr" if number == 1 else f"lr/pg{number}": lr for number, lr in enumerate(outputs["lr"], 1)},
            "samples": earlier + sum(batch.totals),
        }
        now = time.perf_counter()
        point["samples_per_s"] = self._samples / (now - self._since)
        self._since, self._samples = now, 0
        for logger in trainer.loggers:
            logger.log_metrics(point, trainer.global_step)
