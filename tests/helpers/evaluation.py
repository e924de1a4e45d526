"""Evaluation of outputs as they are, by a task around no network."""

from typing import Any

import lightning.pytorch as pl
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from src.tasks.base import SupervisedTask


def validate(task: type[SupervisedTask], outputs: Tensor, targets: Tensor, /, **settings: Any) -> dict[str, float]:
    """The metrics of validation without ``val/``, of batches of seven, the last of which may be smaller."""
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        precision="64-true",
    )
    made = task(net=nn.Identity(), **settings)
    [metrics] = trainer.validate(made, DataLoader(TensorDataset(outputs, targets), batch_size=7), verbose=False)
    return {name.removeprefix("val/"): value for name, value in metrics.items()}
