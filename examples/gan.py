"""A generative adversarial network with manual optimization: python -m src.train experiment=example_gan"""

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchvision.utils import make_grid


class GAN(pl.LightningModule):
    """A generator and a discriminator of images (28, 28), each with its optimizer (Goodfellow and others, 2014).

    It has neither validation nor test. After every epoch it logs samples of the generator's exponential moving average, always of
    the same noise, to TensorBoard.

    Args:
        latent: size of the noise.
        hidden: units of the hidden layers.
        lr: learning rate of both optimizers.
        beta1: of both optimizers.
    """

    def __init__(self, latent: int = 32, hidden: int = 128, lr: float = 2e-4, beta1: float = 0.5) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.automatic_optimization = False
        self.generator = nn.Sequential(
            nn.Linear(latent, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, 784),
            nn.Sigmoid(),
            nn.Unflatten(1, (28, 28)),
        )
        self.discriminator = nn.Sequential(
            nn.Flatten(), nn.Linear(784, hidden), nn.LeakyReLU(0.2), nn.Dropout(0.3), nn.Linear(hidden, 1)
        )
        average = AveragedModel(self.generator, multi_avg_fn=get_ema_multi_avg_fn(0.99), use_buffers=True)
        self.average = average.requires_grad_(False)
        self.register_buffer("noise", torch.randn(16, latent))

    def forward(self, noise: Tensor) -> Tensor:
        """Generate images (n, 28, 28) from noise (n, latent)."""
        return self.generator(noise)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """One step of the discriminator, then one of the generator; both losses are logged."""
        [images] = batch
        for_generator, for_discriminator = self.optimizers()
        fake = self(torch.randn(len(images), self.hparams.latent, device=self.device))

        real_loss = self._loss(images, 1.0)
        loss = (real_loss + self._loss(fake.detach(), 0.0)) / 2
        for_discriminator.zero_grad()
        self.manual_backward(loss)
        for_discriminator.step()
        self.log("d_loss", loss, on_step=True, on_epoch=True)

        loss = self._loss(fake, 1.0)
        for_generator.zero_grad()
        self.manual_backward(loss)
        for_generator.step()
        self.log("g_loss", loss, on_step=True, on_epoch=True)

    def _loss(self, images: Tensor, target: float) -> Tensor:
        logits = self.discriminator(images)
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))

    def on_train_batch_end(self, outputs: object, batch: object, batch_idx: int) -> None:
        """Update the average."""
        self.average.update_parameters(self.generator)

    def on_train_epoch_end(self) -> None:
        """Log samples, as an image."""
        if isinstance(self.logger, TensorBoardLogger):
            grid = make_grid(self.average(self.noise).unsqueeze(1), nrow=4)
            self.logger.experiment.add_image("generated", grid, self.global_step)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam for each of the two networks."""
        settings = {"lr": self.hparams.lr, "betas": (self.hparams.beta1, 0.999)}
        return [torch.optim.Adam(net.parameters(), **settings) for net in (self.generator, self.discriminator)]
