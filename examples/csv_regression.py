"""Regression of a column of a CSV file: python -m src.train experiment=example_csv data.path=houses.csv"""

from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split
from torchmetrics import MeanAbsoluteError, R2Score


class CSVData(pl.LightningDataModule):
    """A CSV file of numbers with a header; four of five rows are for training, the others for validation and test.

    Args:
        path: the file.
        target: name of the column to predict; all others are inputs.
        batch_size: rows per optimizer step and device.
    """

    def __init__(self, path: str, target: str = "y", batch_size: int = 32) -> None:
        super().__init__()
        self.path, self.target, self.batch_size = Path(path), target, batch_size

    def setup(self, stage: str) -> None:
        """Read and split the file."""
        with self.path.open() as file:
            header = file.readline().strip().split(",")
            table = torch.from_numpy(np.loadtxt(file, delimiter=",", dtype=np.float32))
        column = header.index(self.target)
        inputs = table[:, [n for n in range(len(header)) if n != column]]
        rows = TensorDataset((inputs - inputs.mean(0)) / inputs.std(0), table[:, column])
        self.train_set, self.val_set = random_split(rows, [0.8, 0.2], torch.Generator().manual_seed(0))

    def train_dataloader(self) -> DataLoader:
        """Shuffled rows: inputs (n, columns) and targets (n,)."""
        return DataLoader(self.train_set, self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        """The held-out rows."""
        return DataLoader(self.val_set, 256)

    def test_dataloader(self) -> DataLoader:
        """The held-out rows again."""
        return self.val_dataloader()


class Regressor(pl.LightningModule):
    """A multilayer perceptron with the mean squared error, whose learning rate falls on a plateau of ``val_mae``.

    Args:
        inputs: number of columns but the target.
        hidden: units of the hidden layer.
        lr: initial learning rate.
    """

    def __init__(self, inputs: int, hidden: int = 32, lr: float = 1e-2) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, 1))
        self.train_mae, self.val_mae, self.val_r2 = MeanAbsoluteError(), MeanAbsoluteError(), R2Score()

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """The mean squared error of a batch."""
        inputs, targets = batch
        outputs = self.net(inputs).squeeze(1)
        self.train_mae(outputs, targets)
        self.log("train_mae", self.train_mae, on_step=False, on_epoch=True)
        return F.mse_loss(outputs, targets)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Log ``val_mae`` and ``val_r2``."""
        inputs, targets = batch
        self.val_mae(outputs := self.net(inputs).squeeze(1), targets)
        self.val_r2(outputs, targets)
        self.log_dict({"val_mae": self.val_mae, "val_r2": self.val_r2})

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Log ``test_mae``."""
        inputs, targets = batch
        self.log("test_mae", F.l1_loss(self.net(inputs).squeeze(1), targets), batch_size=len(targets))

    def configure_optimizers(self) -> dict:
        """Adam, and a tenth of the learning rate whenever ``val_mae`` stops falling."""
        optimizer = torch.optim.Adam(self.parameters(), lr=self.hparams.lr)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "monitor": "val_mae"}}
