"""Multi-task learning: targets computed from image and label, the weighted loss, and metrics of each head."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from src.config.command_line import parse
from src.config.compose import preflight
from src.data.mnist import MNIST
from src.data.module import TensorData
from src.errors import ConfigError
from src.models.mlp import MLP
from src.tasks.multitask import MultiTask, MultiTaskLoss, slant
from src.training.check import check_targets
from src.training.fit import make_trainer
from tests.helpers.tasks import SeveralClasses, ThreeClasses

SIZES = {"digit": 3, "parity": 2, "slant": 1}


class Digits(TensorData):
    """87 random images of the digits 3, 4 and 8, of which the last 22 or so are held out."""

    input_shape = (6, 5)
    classes = 3
    class_names = ("3", "4", "8")

    def load(self, train: bool) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(int(train))
        images = torch.randint(0, 256, (87, 6, 5), generator=generator, dtype=torch.uint8)
        return images, torch.randint(0, 3, (87,), generator=generator)


def bar(lean: int) -> Tensor:
    """A stroke two pixels wide and 9 high, whose rows move by ``lean`` pixels to the right from the bottom to the top."""
    image = torch.zeros(1, 12, 30, dtype=torch.uint8)
    for row in range(9):
        start = 14 + lean * (4 - row)
        image[0, 2 + row, start : start + 2] = 200
    return image


@pytest.mark.parametrize("lean", [-1, 0, 1, 2])
def test_the_slant_of_a_stroke_is_the_tangent_of_its_angle(lean: int):
    variance = 80 / 12  # of nine rows
    expected = lean * variance / (variance + 1 / 12)
    for image in (bar(lean), bar(lean) // 2, bar(lean).roll((1, -3), (1, 2)), bar(lean).double()):
        assert slant(image).item() == pytest.approx(expected, abs=1e-6)
    assert slant(bar(lean).flip(2)).item() == pytest.approx(-expected, abs=1e-6)


def test_the_slant_follows_from_the_moments_of_the_image():
    images, _ = Digits().load(True)
    y, x = np.mgrid[:6, :5].reshape(2, -1)
    for image, found in zip(images, slant(images), strict=True):
        moments = np.cov(y, x, aweights=image.flatten().numpy(), ddof=0)
        assert found.item() == pytest.approx(-moments[0, 1] / (moments[0, 0] + 1 / 12), rel=1e-4, abs=1e-6)
    with torch.autocast("cpu", torch.bfloat16):  # of trainer.precision=bf16-mixed
        torch.testing.assert_close(slant(images), slant(images.double()).float())
    assert slant(torch.zeros(2, 6, 5)).tolist() == [0, 0]
    assert slant(torch.eye(6)[:1].unsqueeze(0)).isfinite().all()  # a single pixel


def made() -> tuple[Tensor, Tensor, Tensor]:
    """Outputs, targets, and the loss of each head for each sample."""
    torch.manual_seed(0)
    outputs = torch.randn(7, 6, dtype=torch.float64)
    targets = torch.stack([torch.arange(7) % 3, torch.arange(7) % 2, torch.randn(7)], 1).double()
    digit, parity = (
        F.cross_entropy(outputs[:, a:b], targets[:, k].long(), reduction="none") for k, a, b in ((0, 0, 3), (1, 3, 5))
    )
    return outputs, targets, torch.stack([digit, parity, (outputs[:, 5] - targets[:, 2]) ** 2 / 2], 1)


def test_fixed_weights_multiply_the_losses_of_the_heads():
    outputs, targets, losses = made()
    loss = MultiTaskLoss(SIZES, [1.0, 0.5, 3.0])  # type: ignore[arg-type]
    expected = losses[:, 0] + 0.5 * losses[:, 1] + 3 * losses[:, 2]
    torch.testing.assert_close(loss(outputs, targets, "none"), expected)
    torch.testing.assert_close(loss(outputs, targets), expected.sum())
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(loss(outputs.float(), targets.float()), expected.sum().float())
    assert not [*loss.parameters()]


def test_learned_weights_are_least_at_the_variance_of_each_head():
    """Kendall's loss; for half the squared error the variance is that of the errors."""
    outputs, targets, losses = made()
    loss = MultiTaskLoss(SIZES, "learned").double()  # type: ignore[arg-type]
    torch.testing.assert_close(loss(outputs, targets, "none"), losses.sum(1))  # all weights are 1 at first
    assert loss.log_variances is not None
    log_variances = (2 * losses.mean(0)).log()
    loss.log_variances.data.copy_(log_variances)
    total = loss(outputs, targets)
    total.backward()
    torch.testing.assert_close(total, 7 * (0.5 + log_variances / 2).sum())
    torch.testing.assert_close(loss.log_variances.grad, torch.zeros(3).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(loss.weights[2], 1 / (outputs[:, 5] - targets[:, 2]).square().mean())


def test_targets_and_metrics_are_those_of_the_raw_images():
    """Of batches whose last is smaller, in training and in validation."""
    network = partial(MLP, input_shape=[6, 5], hidden=[4])
    task = MultiTask(
        net=network(outputs=MultiTask.outputs(Digits(), {})),
        class_names=Digits.class_names,
        optimizer=partial(torch.optim.SGD, lr=0.0),
        weights=[1.0, 2.0, 3.0],
    )
    data = Digits(val_size=22, batch_size=16, mean=90.0, std=50.0)
    [config] = preflight(parse(["trainer=cpu", "trainer.max_epochs=1", "trainer.precision=64-true"]))
    trainer = make_trainer(config, callbacks=[], logger=False)
    trainer.fit(task, datamodule=data)

    for stage, (images, labels) in (("train", data.train_set), ("val", data.val_set)):
        with torch.no_grad():
            digit, parity, leans = task.net((images.double() - 90) / 50).split([3, 2, 1], 1)
        is_odd, lean = (labels == 0).long(), slant(images.double())
        half_squares = (leans[:, 0] - lean).square().mean() / 2
        expected = {
            "loss": F.cross_entropy(digit, labels) + 2 * F.cross_entropy(parity, is_odd) + 3 * half_squares,
            "digit_acc": (digit.argmax(1) == labels).double().mean(),
            "parity_acc": (parity.argmax(1) == is_odd).double().mean(),
            "slant_mae": (leans[:, 0] - lean).abs().mean(),
        }
        found = {name: float(trainer.callback_metrics[f"{stage}/{name}"]) for name in expected}
        assert found == pytest.approx({name: float(one) for name, one in expected.items()}, rel=1e-6)


def test_a_single_head_needs_its_outputs_alone():
    for heads, outputs in ((["digit"], 10), (["parity"], 2), (["slant"], 1), (["slant", "parity"], 3)):
        assert MultiTask.outputs(MNIST(), {"heads": heads}) == outputs


@pytest.mark.parametrize("heads", [[], ["digit", "digit"]])
def test_no_head_or_one_twice_is_refused(heads: list[str]):
    with pytest.raises(
        ConfigError, match=r"task.heads=\[.*\] must name one head or more of digit, parity, slant, each once"
    ):
        MultiTask.outputs(MNIST(), {"heads": heads})


def test_weights_are_as_many_as_heads():
    with pytest.raises(
        ConfigError, match=r"has 1 weights, and task.heads has 2 heads \(digit, slant\): give one for each"
    ):
        MultiTask(net=torch.nn.Identity(), class_names="01", heads=["digit", "slant"], weights=[1.0])


def test_the_metric_of_a_head_that_is_not_chosen_cannot_be_monitored():
    words = ["task=multitask", "task.heads=[slant]", "monitor=val/digit_acc"]
    with pytest.raises(ConfigError, match=r"^monitor=val/digit_acc is not .* logs val/loss, val/slant_mae\.$"):
        check_targets(preflight(parse(words))[0])


@pytest.mark.parametrize("data", [SeveralClasses(), ThreeClasses(), None])
def test_data_other_than_images_of_digits_is_refused(data: object):
    with pytest.raises(
        ConfigError, match=r"grayscale images whose classes are digits, such as data=mnist, and \w+ is none"
    ):
        MultiTask.outputs(data, {})  # type: ignore[arg-type]
