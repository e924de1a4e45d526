"""Losses. Each maps logits (n, outputs) and labels (n,) to the sum over the samples, and says how its logits are read."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(label_smoothing: float = 0.0) -> Loss:
    """Softmax cross entropy; ``label_smoothing`` spreads that much of the target over all classes."""

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, reduction="sum", label_smoothing=label_smoothing)

    return loss


def squared_error(logits: Tensor, labels: Tensor) -> Tensor:
    """Half the summed square of sigmoid outputs against one-hot targets, or against the label where there is one output."""
    outputs = logits.shape[1]
    target = labels.unsqueeze(1) if outputs == 1 else F.one_hot(labels, outputs)
    return (torch.sigmoid(logits) - target.to(logits.dtype)).square().sum() / 2


def binary_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Sigmoid cross entropy of a single output against labels 0 and 1."""
    return F.binary_cross_entropy_with_logits(logits.squeeze(1), labels.to(logits.dtype), reduction="sum")


def make_loss(name: str, label_smoothing: float = 0.0) -> Loss:
    """The loss of that name."""
    return {
        "cross_entropy": cross_entropy(label_smoothing),
        "squared_error": squared_error,
        "binary_cross_entropy": binary_cross_entropy,
    }[name]


def outputs_for(loss: str, classes: int) -> int:
    """How many outputs a network needs: one a class, and a single one for binary cross entropy."""
    return 1 if loss == "binary_cross_entropy" else classes


def predicted(logits: Tensor) -> Tensor:
    """The class each row of logits stands for, int64 (n,): the largest, or whether the single one is above 0.5."""
    return (logits.squeeze(1) > 0).long() if logits.shape[1] == 1 else logits.argmax(1)


def probabilities(logits: Tensor) -> Tensor:
    """The share of each class, (n, classes): by softmax, or by the sigmoid of a single output, whatever the loss."""
    if logits.shape[1] == 1:
        second = torch.sigmoid(logits)
        return torch.cat([1 - second, second], 1)
    return torch.softmax(logits, 1)
