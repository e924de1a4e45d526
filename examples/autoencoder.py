"""An autoencoder of MNIST's images, without labels: python -m src.train experiment=example_autoencoder"""

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torchvision.datasets import MNIST


class Images(pl.LightningDataModule):
    """MNIST's images alone, between 0 and 1.

    Args:
        dir: the folder that contains MNIST/raw.
        train_size: number of training images.
        batch_size: images per optimizer step and device.
    """

    def __init__(self, dir: str = "data", train_size: int = 10000, batch_size: int = 64) -> None:
        super().__init__()
        self.dir, self.train_size, self.batch_size = dir, train_size, batch_size

    def prepare_data(self) -> None:
        """Unpack the archives, which are there: nothing is downloaded."""
        MNIST(self.dir, download=True)

    def setup(self, stage: str) -> None:
        """Load the images; the validation gets the last thousand of the training set."""
        images = [MNIST(self.dir, train).data / 255 for train in (True, False)]
        self.train_set, self.val_set = images[0][: self.train_size], images[0][-1000:]
        self.test_set = images[1]

    def train_dataloader(self) -> DataLoader:
        """Shuffled images, [(n, 28, 28)]."""
        return DataLoader(TensorDataset(self.train_set), self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        """Held-out images."""
        return DataLoader(TensorDataset(self.val_set), 500)

    def test_dataloader(self) -> DataLoader:
        """The official test images."""
        return DataLoader(TensorDataset(self.test_set), 500)


class AutoEncoder(pl.LightningModule):
    """Reduces an image to a few numbers and reconstructs it from them.

    Args:
        latent: how many numbers.
        hidden: units of the hidden layers.
        lr: initial learning rate of Adam.
        gamma: factor of the learning rate after every epoch.
    """

    def __init__(self, latent: int = 16, hidden: int = 128, lr: float = 1e-3, gamma: float = 0.5) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, hidden), nn.ReLU(), nn.Linear(hidden, latent))
        self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, 784), nn.Sigmoid())

    def forward(self, images: Tensor) -> Tensor:
        """Reconstruct images (n, 28, 28)."""
        return self.decoder(self.encoder(images)).view_as(images)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """The mean squared error of a reconstruction from noisy images."""
        [images] = batch
        loss = F.mse_loss(self(images + 0.1 * torch.randn_like(images)), images)
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Log ``val_loss``."""
        self.log("val_loss", F.mse_loss(self(batch[0]), batch[0]))

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Log ``test_loss``."""
        self.log("test_loss", F.mse_loss(self(batch[0]), batch[0]))

    def configure_optimizers(self) -> tuple[list, list]:
        """Adam, with a schedule that Lightning steps after every epoch."""
        optimizer = torch.optim.Adam(self.parameters(), lr=self.hparams.lr)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=self.hparams.gamma)]
