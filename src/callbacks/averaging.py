"""Weight averaging."""

from typing import Annotated, Any, ClassVar

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.trainer.states import TrainerFn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from src.bounds import OpenFraction


class EMA(WeightAveraging):
    """Exponential moving average of the weights, used for validation, checkpoints and test.

    The average is updated after each optimizer step; Lightning's callback updates it once per batch of its loop, which here
    contains many steps. Checkpoints contain the average as the model's weights, and the trained weights separately.
    """

    accepts_chunks: ClassVar[bool] = True

    def __init__(self, *, decay: Annotated[OpenFraction, "decay of the average at each step"] = 0.999) -> None:
        super().__init__(multi_avg_fn=get_ema_multi_avg_fn(decay))

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Initialize the average in the precision of the training, to which Lightning converts the model only later."""
        super().setup(trainer, pl_module, stage)
        if self._average_model is not None:
            trainer.precision_plugin.convert_module(self._average_model)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Register the optimizer's step hook."""

        def average(optimizer: torch.optim.Optimizer, *_: Any) -> None:
            assert self._average_model is not None
            self._average_model.update_parameters(pl_module)

        self._listening = trainer.optimizers[0].register_step_post_hook(average)

    def on_train_batch_end(self, *_: Any) -> None:
        """No-op: the hook has already updated the average."""

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Restore both states; for a test only the average is needed, which is already the checkpoint's model."""
        if trainer.state.fn == TrainerFn.FITTING:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set the model's weights to the average."""
        self._listening.remove()
        super().on_train_end(trainer, pl_module)
