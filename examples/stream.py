"""Training on a stream: an IterableDataset without length, read by worker processes: python -m src.train experiment=example_stream"""

from collections.abc import Iterator

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset, TensorDataset, get_worker_info


class Waves(IterableDataset):
    """Pieces of noisy sine waves and their frequencies; each worker process generates its share.

    Args:
        size: number of samples in an epoch, of all workers.
        length: of a piece.
    """

    def __init__(self, size: int, length: int) -> None:
        self.size, self.length = size, length

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        worker = get_worker_info()
        for _ in range(self.size // (worker.num_workers if worker else 1)):
            yield wave(self.length)


def wave(length: int) -> tuple[Tensor, Tensor]:
    """A piece (length,) of a sine wave, and its frequency in periods per piece."""
    frequency, phase = 1 + 3 * torch.rand(()), 2 * torch.pi * torch.rand(())
    time = torch.linspace(0, 1, length)
    return torch.sin(2 * torch.pi * frequency * time + phase) + 0.1 * torch.randn(length), frequency


class WaveData(pl.LightningDataModule):
    """A stream for training, and a fixed set of 500 samples for validation.

    Args:
        size: training samples in an epoch.
        length: of a sample.
        batch_size: samples per optimizer step and device.
        workers: processes that generate samples.
    """

    def __init__(self, size: int = 3200, length: int = 64, batch_size: int = 32, workers: int = 2) -> None:
        super().__init__()
        self.size, self.length, self.batch_size, self.workers = size, length, batch_size, workers

    def setup(self, stage: str) -> None:
        """Generate the validation set, the same for every training."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            samples, frequencies = zip(*(wave(self.length) for _ in range(500)), strict=True)
        self.val_set = TensorDataset(torch.stack(samples), torch.stack(frequencies))

    def train_dataloader(self) -> DataLoader:
        """The stream, in batches (n, length) and (n,)."""
        return DataLoader(Waves(self.size, self.length), self.batch_size, num_workers=self.workers)

    def val_dataloader(self) -> DataLoader:
        """The fixed set."""
        return DataLoader(self.val_set, 250)


class FrequencyEstimator(pl.LightningModule):
    """A small convolutional network with the mean squared error; the frequency is in periods per sample.

    Args:
        length: of a sample.
        channels: of the convolution.
        lr: learning rate of Adam.
    """

    def __init__(self, length: int = 64, channels: int = 16, lr: float = 3e-3) -> None:
        super().__init__()
        self.save_hyperparameters()
        convolution, outputs = nn.Conv1d(1, channels, 9, stride=4), channels * ((length - 9) // 4 + 1)
        self.net = nn.Sequential(
            convolution, nn.ReLU(), nn.Flatten(), nn.Linear(outputs, 32), nn.ReLU(), nn.Linear(32, 1)
        )

    def forward(self, samples: Tensor) -> Tensor:
        """Estimate the frequencies (n,) of samples (n, length)."""
        return self.net(samples.unsqueeze(1)).squeeze(1)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """The mean squared error of a batch."""
        loss = F.mse_loss(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_epoch=True)
        return {"loss": loss}

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Log ``val_mae``."""
        self.log("val_mae", F.l1_loss(self(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)
