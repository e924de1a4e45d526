"""Averaged weights."""

from typing import Annotated, Any, ClassVar

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.trainer.states import TrainerFn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from src.bounds import OpenFraction


class EMA(WeightAveraging):
    """Keeps an exponential moving average of the weights; it is the average that is validated, saved and tested.

    Lightning's own averages once a batch of its loop, which here carries many optimizer steps; this one averages after
    each step. Checkpoints hold the average as the model's weights, and the weights being trained beside it.
    """

    accepts_chunks: ClassVar[bool] = True

    def __init__(
        self, *, decay: Annotated[OpenFraction, "share of the average that is kept at each step"] = 0.999
    ) -> None:
        super().__init__(multi_avg_fn=get_ema_multi_avg_fn(decay))

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Begin the average in the precision of the training, to which Lightning turns the model only later."""
        super().setup(trainer, pl_module, stage)
        if self._average_model is not None:
            trainer.precision_plugin.convert_module(self._average_model)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen to the optimizer."""

        def average(optimizer: torch.optim.Optimizer, *_: Any) -> None:
            assert self._average_model is not None
            self._average_model.update_parameters(pl_module)

        self._listening = trainer.optimizers[0].register_step_post_hook(average)

    def on_train_batch_end(self, *_: Any) -> None:
        """The average is up to date already."""

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Go on with both; a test of the checkpoint is of the average, which is its model already."""
        if trainer.state.fn == TrainerFn.FITTING:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the average in the model."""
        self._listening.remove()
        super().on_train_end(trainer, pl_module)
