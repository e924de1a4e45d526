"""DP-SGD: steps are those of Opacus's optimizer plus the noise, the accountant counts each, and what breaks it is refused."""

from functools import partial
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from opacus import GradSampleModule
from opacus.accountants import PRVAccountant, RDPAccountant
from opacus.optimizers import DPOptimizer
from torch import Tensor, nn
from torch.nn import functional as F

from src.config.command_line import parse
from src.config.compose import preflight
from src.errors import ConfigError
from src.models.mlp import MLP
from src.randomness import gaussian_noise, poisson_sample
from src.tasks.private import PrivateClassifier
from src.training.fit import make_trainer
from tests.helpers.tasks import Numbers, SeveralClasses, ThreeClasses

NOISE = {"epsilon": None, "noise": 1.0}
SAMPLES = 65  # of ThreeClasses, without those held out


def mlp(**settings: Any) -> MLP:
    return MLP(input_shape=[5], outputs=3, hidden=[6], **settings)


def fit(net: nn.Module, *words: str, data: pl.LightningDataModule | None = None, **settings: Any) -> PrivateClassifier:
    [config] = preflight(parse(["trainer=cpu", "trainer.max_epochs=1", *words]))
    optimizer = partial(torch.optim.SGD, lr=0.5)
    task = PrivateClassifier(net=net, classes=3, optimizer=optimizer, **{"delta": 1e-3, **settings})
    make_trainer(config, callbacks=[], logger=False).fit(
        task, datamodule=data or ThreeClasses(batch_size=SAMPLES, seed=3)
    )
    return task


def opacus_steps(net: nn.Module, batch_size: int, steps: int, noise: float, norm: float) -> nn.Module:
    """Train a network by Opacus's optimizer on gradients of single samples, with the noise of this project."""
    data = ThreeClasses(batch_size=batch_size, seed=3)
    data.setup("fit")
    inputs, labels = data.normalize(data.train_set[0], torch.float64), data.train_set[1]
    private = GradSampleModule(net, loss_reduction="sum")
    sgd = torch.optim.SGD(net.parameters(), lr=0.5)
    optimizer = DPOptimizer(
        sgd, noise_multiplier=0.0, max_grad_norm=norm, expected_batch_size=batch_size, loss_reduction="sum"
    )
    sizes = [one.numel() for one in net.parameters()]
    for step in range(steps):
        chosen = poisson_sample(3, 0, step, SAMPLES, batch_size / SAMPLES)
        optimizer.zero_grad()
        if len(chosen):
            F.cross_entropy(private(inputs[chosen]), labels[chosen], reduction="sum").backward()
            optimizer.pre_step()
        drawn = gaussian_noise(3, step, sum(sizes)).split(sizes)
        for parameter, normal in zip(net.parameters(), drawn, strict=True):
            summed = parameter.grad if len(chosen) else 0
            parameter.grad = (summed + noise * norm * normal.view_as(parameter)) / batch_size
        sgd.step()
    return net


@pytest.mark.parametrize(("batch_size", "norm"), [(16, 0.7), (1, 0.7), (16, 100.0)])
def test_a_step_is_that_of_opacus(batch_size: int, norm: float):
    sizes = [len(poisson_sample(3, 0, step, SAMPLES, batch_size / SAMPLES)) for step in range(5)]
    assert (0 in sizes) == (batch_size == 1)  # also an empty batch, whose step is the noise alone
    net = mlp(norm="layer").double()
    expected = opacus_steps(pickle_copy(net), batch_size, 5, noise=1.5, norm=norm)
    data = ThreeClasses(batch_size=batch_size, seed=3)
    words = ["trainer.precision=64-true", "+trainer.max_steps=5"]
    task = fit(net, *words, data=data, epsilon=None, noise=1.5, max_gradient_norm=norm)
    for found, wanted in zip(task.net.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(found.data, wanted.data, rtol=1e-5, atol=1e-7)
    assert not any(hasattr(one, "grad_sample") for one in task.net.parameters())


def pickle_copy(net: nn.Module) -> nn.Module:
    copied = mlp(norm="layer").double()
    copied.load_state_dict(net.state_dict())
    return copied


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_every_step_is_counted_and_the_noise_spends_the_target():
    task = fit(mlp(), "trainer.max_epochs=3", epsilon=2.0)
    assert 1.9 < task.spent() <= 2.0
    accountant, rough = PRVAccountant(), RDPAccountant()
    for _ in range(3):
        for one in (accountant, rough):
            one.step(noise_multiplier=task.noise, sample_rate=1.0)
    assert task.spent() == accountant.get_epsilon(1e-3) < rough.get_epsilon(1e-3)
    checkpoint: dict[str, Any] = {}
    task.on_save_checkpoint(checkpoint)
    other = PrivateClassifier(net=mlp(), classes=3, delta=1e-3)
    other.on_load_checkpoint(checkpoint)
    assert other.spent() == task.spent()


def test_frozen_parameters_keep_their_values_and_get_no_noise():
    net = mlp()
    net.layers[0].requires_grad_(False)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    after = fit(net, **NOISE).net.state_dict()
    assert [name for name, value in before.items() if torch.equal(value, after[name])] == [
        "layers.0.weight",
        "layers.0.bias",
    ]


def test_noise_and_batches_of_the_system_differ_between_runs():
    first, second = (fit(initial(), randomness="system", **NOISE).net.layers[0].weight for _ in range(2))
    assert not torch.equal(first, second)
    first, second = (fit(initial(), **NOISE).net.layers[0].weight for _ in range(2))
    assert torch.equal(first, second)


def initial() -> MLP:
    torch.manual_seed(0)
    return mlp()


class Centered(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x - x.mean(0)).square()


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.last = nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.layer(self.layer(x)))


class Bypassed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.layer.weight)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LSTM(5, 3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.unsqueeze(1))[0].squeeze(1)


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (Centered(), "the output of Centered for a sample depends on the other samples"),
        (Tied(), "Opacus cannot compute the gradients of single samples in Tied"),
        (Bypassed(), "Opacus cannot compute the gradients of single samples in Bypassed"),
        (Recurrent(), "task=private: .*LSTM"),
    ],
)
def test_a_network_without_gradients_of_single_samples_is_refused(net: nn.Module, message: str):
    with pytest.raises(ConfigError, match=message) as refused:
        fit(net, **NOISE)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("words", "settings", "message"),
    [
        (["+trainer.accumulate_grad_batches=2"], {}, "adds noise to every batch: set a larger data.batch_size"),
        (["trainer.precision=bf16-mixed"], {}, "trainer.precision=bf16-mixed rounds the gradient norms"),
        ([], {"delta": 0.1}, r"task.delta=0.1 must be below 1 / 65, the number of training samples"),
        ([], {"epsilon": None, "noise": 0.01}, "and one above 50 protects nothing: set a larger one"),
    ],
)
def test_settings_that_break_the_guarantee_are_refused(words: list[str], settings: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        fit(mlp(), *words, **settings)


def test_batches_larger_than_the_training_set_are_refused():
    with pytest.raises(ConfigError, match=r"data.batch_size=66 must be at most the 65 training samples"):
        fit(mlp(), data=ThreeClasses(batch_size=66))


@pytest.mark.parametrize("data", [Numbers(), SeveralClasses(), None])
def test_data_without_one_class_for_each_sample_is_refused(data: object):
    with pytest.raises(ConfigError, match="task=private requires a data set in memory with one class for each sample"):
        PrivateClassifier.outputs(data, {})  # type: ignore[arg-type]
