"""What happens within an epoch, as curves."""

import time
from typing import Any, ClassVar, cast

import lightning.pytorch as pl

from src.data.chunks import ChunkLoader, as_chunk


def point_is_due(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Whether to log a point: every ``log_every_n_steps`` batches of Lightning's loop, and at the end of an epoch."""
    return (batch_idx + 1) % trainer.log_every_n_steps == 0 or trainer.is_last_batch  # type: ignore[attr-defined]


class Curves(pl.Callback):
    """Logs, whenever a point is due:

    ``train/loss_step`` and ``train/acc_step``, means over the last batch or chunk (those of an epoch are ``train/loss`` and
    ``train/acc``); ``lr``, the learning rate of the last step, one name for every optimizer so that all runs share a chart,
    and that of further parameter groups as ``lr/pg2``, ...; ``samples``, the training samples seen, the axis on which runs of
    different batch sizes compare; ``samples_per_s`` since the point before, over all ranks.
    """

    accepts_chunks: ClassVar[bool] = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock, also for a run that is resumed within an epoch."""
        self._since, self._samples = time.perf_counter(), 0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restart the clock: validation is left out."""
        self._since, self._samples = time.perf_counter(), 0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Note the learning rates of the step, which a schedule has changed by its end."""
        self._lr = [group["lr"] for group in trainer.optimizers[0].param_groups]

    def on_train_batch_end(  # type: ignore[override]
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: dict[str, Any],
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Log a point when one is due."""
        loader = cast(ChunkLoader, trainer.train_dataloader)
        chunk = as_chunk(batch, batch_idx, loader)
        samples = sum(chunk.totals)
        self._samples += samples
        if not point_is_due(trainer, batch_idx):
            return
        earlier = trainer.current_epoch * len(loader.labels) + chunk.first_step * loader.batch_size
        point = {
            "train/loss_step": outputs["train/loss"],
            "train/acc_step": outputs["train/acc"],
            **{"lr" if n == 1 else f"lr/pg{n}": lr for n, lr in enumerate(outputs.get("lr", self._lr), 1)},
            "samples": earlier + samples,
        }
        now = time.perf_counter()
        point["samples_per_s"] = self._samples / (now - self._since)
        self._since, self._samples = now, 0
        for logger in trainer.loggers:
            logger.log_metrics(point, trainer.global_step)
