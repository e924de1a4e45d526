"""Losses. Each maps logits (n, outputs) and labels (n,) to the sum over the samples, or to each sample's (n,)."""

from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from src.errors import ConfigError

Reduction = Literal["sum", "none"]
LossName = Literal["cross_entropy", "squared_error", "binary_cross_entropy"]
DEFAULT: LossName = "cross_entropy"


class Loss(Protocol):
    """What every loss here is, and what one of your own must be."""

    def __call__(self, logits: Tensor, labels: Tensor, reduction: Reduction = "sum") -> Tensor:
        """The sum over the samples, or with ``reduction="none"`` the loss of each."""


class CrossEntropy:
    """Softmax cross entropy; ``label_smoothing`` spreads that much of the target over all classes."""

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def __call__(self, logits: Tensor, labels: Tensor, reduction: Reduction = "sum") -> Tensor:
        """The sum over the samples, or the loss of each."""
        return F.cross_entropy(logits, labels, reduction=reduction, label_smoothing=self.label_smoothing)

    def smoothed(self, targets: Tensor) -> Tensor:
        """Spread one-hot targets (n, outputs) as the loss does."""
        if not self.label_smoothing:
            return targets
        return targets * (1 - self.label_smoothing) + self.label_smoothing / targets.shape[1]


def squared_error(logits: Tensor, labels: Tensor, reduction: Reduction = "sum") -> Tensor:
    """Half the summed square of sigmoid outputs against one-hot targets, or against the label where there is one output."""
    outputs = logits.shape[1]
    target = labels.unsqueeze(1) if outputs == 1 else F.one_hot(labels, outputs)
    losses = (torch.sigmoid(logits) - target.to(logits.dtype)).square().sum(1) / 2
    return losses.sum() if reduction == "sum" else losses


def binary_cross_entropy(logits: Tensor, labels: Tensor, reduction: Reduction = "sum") -> Tensor:
    """Sigmoid cross entropy of a single output against labels 0 and 1."""
    return F.binary_cross_entropy_with_logits(logits.squeeze(1), labels.to(logits.dtype), reduction=reduction)


def make_loss(name: LossName, label_smoothing: float = 0.0) -> Loss:
    """The loss of that name.

    Raises:
        ConfigError: ``label_smoothing`` is set and the loss has none.
    """
    if label_smoothing and name != "cross_entropy":
        raise ConfigError(f"task.label_smoothing={label_smoothing:g} requires task.loss=cross_entropy, not {name}.")
    losses: dict[LossName, Loss] = {
        "cross_entropy": CrossEntropy(label_smoothing),
        "squared_error": squared_error,
        "binary_cross_entropy": binary_cross_entropy,
    }
    return losses[name]


def outputs_for(loss: str, classes: int) -> int:
    """The number of outputs of a network: one for each class, a single one for binary cross entropy.

    Raises:
        ConfigError: binary cross entropy is computed for two classes, and there are others.
    """
    if loss == "binary_cross_entropy" and classes != 2:
        raise ConfigError(
            f"task.loss=binary_cross_entropy requires two classes, and this data set has {classes}: set "
            "task.loss=cross_entropy, or data=points."
        )
    return 1 if loss == "binary_cross_entropy" else classes


def predicted(logits: Tensor) -> Tensor:
    """The class each row of logits stands for, int64 (n,): the largest, or whether the single one is above 0.5."""
    return (logits.squeeze(1) > 0).long() if logits.shape[1] == 1 else logits.argmax(1)


def columns(logits: Tensor) -> Tensor:
    """One score a class, (n, classes), whose softmax is ``probabilities``: a single output is shared out among the two."""
    return torch.cat([-logits / 2, logits / 2], 1) if logits.shape[1] == 1 else logits


def probabilities(logits: Tensor) -> Tensor:
    """The share of each class, (n, classes): by softmax, or by the sigmoid of a single output, whatever the loss."""
    if logits.shape[1] == 1:
        second = torch.sigmoid(logits)
        return torch.cat([1 - second, second], 1)
    return torch.softmax(logits, 1)
