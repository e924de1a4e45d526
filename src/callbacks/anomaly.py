"""Anomaly detection."""

import lightning.pytorch as pl
import torch


class Anomaly(pl.Callback):
    """Enables autograd's anomaly detection, which names the operation whose gradient is NaN. Several times slower."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Enable anomaly detection."""
        torch.autograd.set_detect_anomaly(True)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Disable anomaly detection."""
        torch.autograd.set_detect_anomaly(False)
