"""Explanations: which pixels they name, where the pictures go, and what they leave alone."""

from typing import Any

import pytest
import torch

from src.analysis.attribution import attribute, chosen
from src.callbacks.after_test import Outcome
from src.data.normalize import Normalize
from src.errors import UserError
from src.models.mlp import MLP
from src.records.record import Record
from src.tasks.classification import Classifier
from src.tasks.pipeline import Pipeline
from tests.conftest import MakeRun
from tests.helpers.explain import explain

__all__ = ["explain"]


def model(activation: str = "relu", outputs: int = 10) -> Pipeline:
    torch.manual_seed(0)
    shape = {"input_shape": [28, 28], "outputs": outputs, "hidden": [32, 16], "activation": activation}
    loss = "binary_cross_entropy" if outputs == 1 else "cross_entropy"
    return Pipeline(Normalize(127.5, 127.5), Classifier(net=MLP(**shape), classes=max(2, outputs), loss=loss)).eval()


def pictures(count: int) -> torch.Tensor:
    return torch.randint(256, (count, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("outputs", [10, 1])
def test_integrated_gradients_add_up_to_the_difference_to_a_black_image(outputs: int):
    net, raw, classes = model(outputs=outputs), pictures(60), torch.arange(60) % max(2, outputs)

    def score(inputs: torch.Tensor) -> torch.Tensor:
        logits = net(inputs)
        both = torch.cat([-logits / 2, logits / 2], 1) if outputs == 1 else logits
        return both.gather(1, classes.unsqueeze(1)).squeeze(1)

    difference = (score(raw) - score(torch.zeros_like(raw))).detach()
    gaps = [
        (attribute(net, raw, classes, "integrated_gradients", steps).sum((1, 2)) - difference).abs().max()
        for steps in (5, 500)
    ]
    assert gaps[1] < gaps[0] / 10
    assert gaps[1] < 0.01 * difference.abs().max()


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 20, 24)])
def test_every_channel_gets_its_attribution(shape: tuple[int, ...]):
    torch.manual_seed(0)
    network = Classifier(net=MLP(input_shape=shape, outputs=10, hidden=[16], activation="silu"), classes=10)
    net = Pipeline(Normalize(127.5, 127.5), network).eval()
    raw = torch.randint(256, (3, *shape), dtype=torch.uint8)
    classes = torch.tensor([1, 5, 9])
    difference = (net(raw) - net(torch.zeros_like(raw)))[torch.arange(3), classes].detach()
    found = attribute(net, raw, classes, "integrated_gradients", 50)
    assert found.shape == raw.shape
    assert torch.allclose(found.flatten(1).sum(1), difference, atol=1e-4)


def test_of_a_smooth_network_they_add_up_to_rounding():
    net, raw, classes = model("silu"), pictures(3), torch.tensor([1, 5, 9])
    difference = (net(raw) - net(torch.zeros_like(raw)))[torch.arange(3), classes].detach()
    found = attribute(net, raw, classes, "integrated_gradients", 50)
    assert torch.allclose(found.sum((1, 2)), difference, atol=1e-5)


def test_saliency_is_the_gradient_for_raw_grey_values_with_its_sign():
    net, raw = model(), pictures(3)
    inputs = raw.float().requires_grad_()
    net(inputs)[:, 7].sum().backward()
    found = attribute(net, raw, torch.tensor([7, 7, 7]), "saliency")
    assert torch.equal(found, inputs.grad)
    assert (found < 0).any()


@pytest.mark.parametrize("method", ["integrated_gradients", "saliency"])
def test_an_image_is_explained_alike_alone_and_among_others(method: str):
    net, raw, classes = model(), pictures(120), torch.arange(120) % 10
    together = attribute(net, raw, classes, method)
    for number in (0, 49, 50, 119):
        alone = attribute(net, raw[[number]], classes[[number]], method)
        assert torch.allclose(alone[0], together[number], atol=1e-5)


def test_a_run_at_work_is_left_alone(make_run: MakeRun, explain: Any):
    record: Record = make_run(status="running")
    status, _, said = explain(str(record.directory))
    assert status == 1
    assert "still running" in said


def test_a_model_without_mistakes_has_none_to_explain():
    labels = torch.arange(10)
    perfect = Outcome(torch.eye(10), labels, pictures(10), [str(number) for number in range(10)])
    with pytest.raises(UserError, match="makes no mistake"):
        chosen(perfect, 5, "r1")
