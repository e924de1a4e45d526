"""Regression: metrics of uneven batches are those of the whole set, in the units of the targets."""

import math

import pytest
import torch
from torch import Tensor, nn
from torchmetrics.functional import r2_score

from src.data.mnist import MNIST
from src.errors import ConfigError, DataError, UserError
from src.tasks.regression import Regressor
from tests.helpers.evaluation import validate
from tests.helpers.tasks import Numbers, train


def made(scale: float = 1.0, offset: float = 0.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    targets = torch.randn(38, 2, generator=generator).double()
    noise = torch.randn(38, 2, generator=generator).double()
    return offset + scale * (targets + 0.3 * noise), offset + scale * targets


def test_metrics_are_those_of_torchmetrics_for_the_whole_set():
    outputs, targets = made()
    found = validate(Regressor, outputs, targets, targets=2)
    error = outputs - targets
    expected = {
        "loss": error.square().mean(),
        "mae": error.abs().mean(),
        "rmse": error.square().mean().sqrt(),
        "r2": r2_score(outputs, targets),
    }
    assert found == pytest.approx({name: float(value) for name, value in expected.items()}, rel=1e-9)


@pytest.mark.parametrize(("scale", "offset"), [(1e-4, 0.0), (1.0, 1e5)])
def test_r2_does_not_depend_on_the_units(scale: float, offset: float):
    expected = validate(Regressor, *made(), targets=2)["r2"]
    assert validate(Regressor, *made(scale, offset), targets=2)["r2"] == pytest.approx(expected, rel=1e-4)


def test_r2_is_undefined_for_constant_targets():
    outputs, _ = made()
    assert math.isnan(validate(Regressor, outputs, torch.full((38, 2), 0.1).double(), targets=2)["r2"])


def test_standardized_targets_are_trained_in_their_own_units():
    """One target is a thousand, and varies by thirty."""
    plain, standardized = (
        train(name, fast=True, epochs=60)["metrics"] for name in ("numbers", "numbers, standardized")
    )
    assert standardized["test/r2"] > 0.5 > plain["test/r2"]
    assert standardized["test/rmse"] < 20
    assert standardized["test/loss"] < 1  # of targets of variance 1


def test_mean_and_deviation_of_the_targets_are_saved():
    data = Numbers()
    data.setup("fit")
    targets = data.train_set[1].double()
    task = Regressor(net=nn.Identity(), targets=2, standardize_targets=True)
    task.loss.fit(targets)  # type: ignore[operator]
    state = task.state_dict()
    torch.testing.assert_close(state["loss.mean"].double(), targets.mean(0), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(state["loss.std"].double(), targets.std(0, correction=0), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(task.predictions(torch.tensor([[0.0, 1.0]]))[0, 0], state["loss.mean"][0])
    task.loss.fit(torch.ones(4, 2))  # type: ignore[operator]
    assert task.state_dict()["loss.std"].tolist() == [1.0, 1.0]  # of what is constant


def test_targets_and_outputs_have_one_shape():
    outputs, targets = made()
    with pytest.raises(UserError, match=r"returned a tensor of shape \(7, 2\) for 7 samples: .* of shape \(7, 1\)"):
        validate(Regressor, outputs, targets[:, :1], targets=1)
    with pytest.raises(DataError, match=r"of shape \(7,\): they must be floating-point, of shape \(7, 2\)"):
        validate(Regressor, outputs, targets[:, 0], targets=2)
    with pytest.raises(DataError, match="NaN or infinite"):
        validate(Regressor, outputs, targets / 0, targets=2)
    with pytest.raises(DataError, match="must be floating-point"):
        validate(Regressor, outputs, targets.long(), targets=2)


def test_a_custom_loss_is_taken_as_in_classification():
    outputs, targets = made()
    found = validate(Regressor, outputs, targets, targets=2, loss=nn.SmoothL1Loss(reduction="sum"))
    assert found["loss"] == pytest.approx(nn.SmoothL1Loss(reduction="sum")(outputs, targets).item() / 38)


def test_outputs_follow_from_the_data():
    assert Regressor.outputs(Numbers(), {}) == 2
    with pytest.raises(ConfigError, match="MNIST has none: set task=classification"):
        Regressor.outputs(MNIST(), {})
