"""Gradient norm."""

from typing import ClassVar

import lightning.pytorch as pl
import torch

from src.callbacks.curves import point_is_due


class GradientNorm(pl.Callback):
    """Logs ``gradient_norm``, the total 2-norm of all gradients as used by the optimizer, after clipping."""

    accepts_chunks: ClassVar[bool] = True

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Log the norm of the last step, when a point is due."""
        if not point_is_due(trainer, batch_idx):
            return
        gradients = [parameter.grad for parameter in pl_module.parameters() if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        for logger in trainer.loggers:
            logger.log_metrics({"gradient_norm": float(norm)}, trainer.global_step)
