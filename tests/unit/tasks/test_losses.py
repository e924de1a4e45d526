"""Losses by name, by their formulas; modules and functions in their place."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from src.errors import ConfigError, UserError
from src.tasks.losses import BinaryCrossEntropy, SquaredError, make_loss, make_regression_loss, outputs_for, predicted

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


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_loss_is_cross_entropy_of_samples_that_are_not_yet_classified(gamma: float):
    logits, labels = torch.randn(5, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0])
    true = logits.softmax(1).gather(1, labels.unsqueeze(1))
    expected = -((1 - true) ** gamma * true.log()).sum()
    assert make_loss("focal", gamma=gamma)(logits, labels).item() == pytest.approx(expected.item(), abs=1e-9)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
@pytest.mark.parametrize("multilabel", [False, True])
def test_focal_loss_has_a_gradient_where_nothing_is_wrong(gamma: float, multilabel: bool):
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    loss = make_loss("focal", gamma=gamma, multilabel=multilabel)
    loss(logits, torch.tensor([[1.0, 0.0]]) if multilabel else torch.tensor([0])).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_multi_label_focal_loss_is_that_of_torchvision():
    logits, targets = torch.randn(5, 4, dtype=torch.float64), torch.randint(2, (5, 4)).float()
    expected = sigmoid_focal_loss(logits, targets.double(), alpha=-1, gamma=1.5, reduction="none").mean(1)
    found = make_loss("focal", gamma=1.5, multilabel=True)(logits, targets, reduction="none")
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", ["cross_entropy", "squared_error", "binary_cross_entropy", "focal"])
def test_a_loss_is_the_sum_of_those_of_its_samples(name: Any):
    labels = torch.tensor([0, 1, 1, 0])
    logits = torch.randn(4, outputs_for(name, 2), dtype=torch.float64)
    loss = make_loss(name, weight=torch.tensor([1.0, 3.0]).double())
    each = loss(logits, labels, reduction="none")
    assert each.shape == (4,)
    assert loss(logits, labels).item() == pytest.approx(each.sum().item())
    assert each[1].item() == pytest.approx(3 * make_loss(name)(logits[1:2], labels[1:2]).item())
    assert loss.sample_weights(labels).tolist() == [1, 3, 3, 1]  # type: ignore[union-attr]


LOGITS, LABELS = torch.randn(6, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2])
MEAN = nn.MultiMarginLoss()(LOGITS, LABELS).item()


@pytest.mark.parametrize(
    "loss",
    [
        nn.MultiMarginLoss(),
        nn.MultiMarginLoss(reduction="sum"),
        nn.MultiMarginLoss(reduction="none"),
        F.multi_margin_loss,
        lambda logits, labels: F.multi_margin_loss(logits, labels, reduction="none"),
        lambda logits, labels: F.multi_margin_loss(logits, labels, reduction="none").unsqueeze(1).repeat(1, 2),
    ],
)
def test_a_module_or_function_returns_a_mean_a_sum_or_the_loss_of_each_sample(loss: Callable[..., Any]):
    custom = make_loss(loss)
    assert custom(LOGITS, LABELS).item() / 6 == pytest.approx(MEAN)
    assert custom(LOGITS, LABELS, reduction="none").mean().item() == pytest.approx(MEAN)
    empty = LOGITS[:0].requires_grad_()
    custom(empty, LABELS[:0]).backward()  # of a rank that has no sample of a batch
    assert empty.grad is not None


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda logits, labels: 1.0, r"returned a float for outputs of shape \(6, 3\) and targets of shape \(6,\)"),
        (lambda logits, labels: (logits.sum(), 1), "returned a tuple"),
        (lambda logits, labels: labels.sum(), r"shape \(\), torch.int64.*must return a floating-point scalar"),
        (lambda logits, labels: logits.sum(0), r"shape \(3,\) for .* of each sample, of shape \(6,\) or \(6, k\)"),
        (lambda logits, labels: logits.unsqueeze(2), r"shape \(6, 3, 1\)"),
        (nn.BCEWithLogitsLoss(), r"BCEWithLogitsLoss failed for outputs of shape \(6, 3\) .*Target size"),
        (nn.MSELoss(), "MSELoss failed"),
        (lambda logits: logits, "takes 1 positional argument"),
    ],
)
def test_another_result_is_refused_with_what_is_expected(loss: Callable[..., Any], message: str):
    with pytest.raises(UserError, match=message):
        make_loss(loss)(LOGITS, LABELS)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mse", nn.MSELoss()),
        ("mae", nn.L1Loss()),
        ("huber", nn.HuberLoss(delta=0.3)),
        (nn.SmoothL1Loss(), nn.SmoothL1Loss()),
    ],
)
def test_losses_of_regression_are_means_over_samples_and_targets(name: Any, expected: nn.Module):
    outputs, targets = torch.randn(5, 2, dtype=torch.float64), torch.randn(5, 2)
    loss = make_regression_loss(name, delta=0.3) if name == "huber" else make_regression_loss(name)
    assert loss(outputs, targets).item() / 5 == pytest.approx(expected(outputs, targets.double()).item())
    assert loss(outputs, targets, reduction="none").shape == (5,)


def test_delta_is_that_of_huber():
    with pytest.raises(ConfigError, match=r"task.delta=2 requires task.loss=huber, not mse"):
        make_regression_loss("mse", delta=2.0)
