"""Where a gradient stops being a number."""

import lightning.pytorch as pl
import torch


class Anomaly(pl.Callback):
    """Lets autograd look for the operation whose gradient is not a number, and name it. Several times slower."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Switch the search on."""
        torch.autograd.set_detect_anomaly(True)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Switch it off."""
        torch.autograd.set_detect_anomaly(False)
