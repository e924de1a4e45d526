"""Adversarial attacks: FGSM and PGD."""

import pytest
import torch
from torch.nn import functional as F

from src.data.normalize import Normalize
from src.models.mlp import MLP
from src.tasks.attacks import fgsm, input_gradient, pgd
from src.tasks.classification import Classifier
from src.tasks.pipeline import Pipeline
from tests.helpers.robustness import images, random

__all__ = ["images"]


@pytest.fixture(scope="module", params=["cross_entropy", "squared_error"])
def model(request: pytest.FixtureRequest) -> Pipeline:
    torch.manual_seed(0)
    net = MLP(input_shape=(28, 28), outputs=10, hidden=[16])
    return Pipeline(Normalize(127.5, 127.5), Classifier(net=net, classes=10, loss=request.param)).eval()


@pytest.mark.parametrize("epsilon", [0.02, 0.3])
@pytest.mark.parametrize("attack", ["fgsm", "pgd"])
def test_an_attack_stays_within_epsilon_and_the_range_and_raises_the_loss(model, images, attack: str, epsilon: float):
    inputs, labels = images
    if attack == "fgsm":
        changed = fgsm(model, inputs, labels, epsilon)
    else:
        changed = pgd(model, inputs, labels, epsilon, steps=3, step_size=epsilon / 2, random=random(inputs))
    assert (changed - inputs.float()).abs().max() <= 255 * epsilon + 1e-3
    assert changed.min() >= 0
    assert changed.max() <= 255
    with torch.no_grad():
        before, after = (model.loss(model(one), labels, reduction="none") for one in (inputs, changed))
    assert (after > before).float().mean() > 0.9
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_gradient_is_that_of_the_loss_written_out(images):
    torch.manual_seed(0)
    net = MLP(input_shape=(28, 28), outputs=10, hidden=[])
    linear = Pipeline(Normalize(100.0, 50.0), Classifier(net=net, classes=10)).eval()
    inputs, labels = images[0].float(), images[1]
    weight = net.get_parameter("layers.0.weight").detach()
    with torch.no_grad():
        outputs = linear(inputs).softmax(1) - F.one_hot(labels, 10)
    expected = (outputs @ weight / 50).view_as(inputs)
    found = input_gradient(linear, inputs, labels)
    assert torch.allclose(found, expected, atol=1e-7)
    moved = fgsm(linear, inputs, labels, 0.1)
    assert torch.equal(moved, (inputs + 25.5 * found.sign()).clamp(0, 255))


def test_pgd_starts_where_it_is_told_and_its_first_step_is_that_of_fgsm(model, images):
    inputs, labels = images
    middle = torch.full(inputs.shape, 0.5)
    assert torch.equal(
        pgd(model, inputs, labels, 0.1, steps=0, step_size=0.1, random=middle), inputs.float().clamp(0, 255)
    )
    one_step = pgd(model, inputs, labels, 0.1, steps=1, step_size=0.1, random=middle)
    assert torch.allclose(one_step, fgsm(model, inputs, labels, 0.1), atol=1e-4)
