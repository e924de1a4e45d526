"""The written-out gradients are autograd's, and the network itself decides whether they serve."""

from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch.nn import functional as F

from src.tasks.losses import CrossEntropy


class Weighted(CrossEntropy):
    """Counts the first class ten times."""

    def __call__(self, logits, labels, reduction="sum"):
        weights = torch.where(labels == 0, 10.0, 1.0)
        losses = F.cross_entropy(logits, labels, reduction="none") * weights
        return losses.sum() if reduction == "sum" else losses


class SetLoss(pl.Callback):
    """Sets the loss when an epoch begins, and keeps the weights at the end."""

    def __init__(self, loss: Any, epoch: int = 0) -> None:
        self.loss, self.epoch = loss, epoch

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == self.epoch:
            pl_module.loss = self.loss

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.weights = [parameter.detach().clone() for parameter in pl_module.parameters()]


class EachStep(pl.Callback):
    """A hook of single steps, for which every step goes through Lightning and autograd."""

    def on_before_zero_grad(self, *_: Any) -> None:
        pass


@pytest.mark.parametrize("epoch", [0, 1])
def test_a_loss_derived_from_cross_entropy_is_trained_whenever_it_is_set(fit_here, epoch: int):
    def train(loss: Any, *extra: pl.Callback) -> list[torch.Tensor]:
        kept = SetLoss(loss, epoch)
        fit_here("callbacks=none", "logger=none", extra=[kept, *extra])
        return kept.weights

    found, expected, plain = train(Weighted()), train(Weighted(), EachStep()), train(CrossEntropy())
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(found[0], plain[0], atol=1e-3)
