"""Losses by name, by their formulas."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from src.tasks.losses import BinaryCrossEntropy, SquaredError, make_loss, outputs_for, predicted

# Losses


def test_squared_error_is_half_the_summed_square_of_sigmoids_against_one_hot():
    logits, labels = np.array([[0.3, -1.0, 2.0], [1.0, 0.0, -0.5]]), np.array([2, 0])
    expected = 0.5 * ((1 / (1 + np.exp(-logits)) - np.eye(3)[labels]) ** 2).sum()
    assert SquaredError()(torch.tensor(logits), torch.tensor(labels)).item() == pytest.approx(expected, abs=1e-12)


def test_binary_cross_entropy_reads_a_single_logit():
    logits, labels = torch.tensor([[0.4], [-2.0]], dtype=torch.float64), torch.tensor([1, 1])
    p = 1 / (1 + np.exp(-logits[:, 0].numpy()))
    assert BinaryCrossEntropy()(logits, labels).item() == pytest.approx(-np.log(p).sum(), abs=1e-12)
    assert predicted(logits).tolist() == [1, 0]
    assert outputs_for("binary_cross_entropy", 2) == 1
    assert outputs_for("cross_entropy", 10) == 10


def test_label_smoothing_spreads_the_target():
    logits, labels = torch.randn(5, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0])
    target = F.one_hot(labels, 4).double() * 0.8 + 0.2 / 4
    expected = -(target * logits.log_softmax(1)).sum()
    assert make_loss("cross_entropy", 0.2)(logits, labels).item() == pytest.approx(expected.item(), abs=1e-9)
