"""The written-out gradients are autograd's, and the network itself decides whether they serve."""

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.module import register_module_forward_hook

from src.fast.backprop import Backprop
from src.models.mlp import MLP
from src.tasks.losses import SquaredError, make_loss, outputs_for


@given(
    st.lists(st.integers(1, 7), max_size=3),
    st.sampled_from(["relu", "sigmoid", "tanh", "gelu", "silu"]),
    st.sampled_from(["cross_entropy", "squared_error", "binary_cross_entropy"]),
    st.sampled_from([0.0, 0.1]),
    st.integers(1, 9),
    st.integers(1, 20),
)
@settings(max_examples=100)
def test_loss_and_gradients_are_those_of_autograd(
    hidden: list[int], activation: str, name: str, smoothing: float, samples: int, total: int
):
    torch.manual_seed(samples)
    classes = 2 if name == "binary_cross_entropy" else 4
    net = MLP(input_shape=[2, 3], outputs=outputs_for(name, classes), hidden=hidden, activation=activation).double()
    loss = make_loss(name, smoothing if name == "cross_entropy" else 0.0)
    x, y = torch.randn(samples, 2, 3, dtype=torch.float64), torch.randint(classes, (samples,))
    expected = loss(net(x), y) / total
    expected.backward()
    gradients = [parameter.grad.clone() for parameter in net.parameters()]  # type: ignore[union-attr]
    backprop = Backprop.of(net, loss)
    assert backprop is not None
    with torch.no_grad():
        for _ in range(2):  # nothing is left over from the step before
            backprop.attach()
            logits = backprop(x.flatten(1), backprop.targets(y), total)
    assert torch.allclose(logits, net(x), rtol=1e-12)
    assert loss(logits, y, reduction="none").sum().item() / total == pytest.approx(expected.item(), rel=1e-12)
    for parameter, gradient in zip(net.parameters(), gradients, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-9, atol=1e-12)
    assert backprop.gradient.numel() == sum(map(torch.numel, net.parameters()))


def test_the_loss_is_differentiated_as_a_whole():
    """By torch's own numerical check, from the parameters to the mean loss."""
    net = MLP(input_shape=[3], outputs=3, hidden=[4], activation="tanh").double()
    backprop = Backprop.of(net, loss := make_loss("cross_entropy", 0.2))
    assert backprop is not None
    x, y = torch.randn(5, 3, dtype=torch.float64), torch.randint(3, (5,))
    names = [name for name, _ in net.named_parameters()]

    class WrittenOut(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *values):
            with torch.no_grad():
                for parameter, value in zip(net.parameters(), values, strict=True):
                    parameter.copy_(value)
                logits = backprop(x, targets := backprop.targets(y), 5)
                return -(logits.log_softmax(1) * targets).sum() / 5

        @staticmethod
        def backward(ctx, gradient):
            backprop.attach()
            return tuple(parameter.grad.clone() * gradient for parameter in net.parameters())

    values = [parameter.detach().clone().requires_grad_() for parameter in net.parameters()]
    assert len(names) == 4
    assert torch.autograd.gradcheck(WrittenOut.apply, values)
    assert loss is not None


def refused(**changes) -> bool:
    settings = {"input_shape": [4], "outputs": 3, "hidden": [5]} | changes
    return Backprop.of(MLP(**settings), make_loss("cross_entropy")) is None


def test_what_is_not_written_out_goes_through_autograd():
    assert not refused()
    assert not refused(hidden=[])
    assert refused(dropout=0.1)
    assert refused(norm="layer")
    assert refused(norm="batch")


def test_a_network_that_is_hooked_frozen_or_of_another_class_goes_through_autograd():
    loss = make_loss("cross_entropy")

    class Mine(MLP):
        def forward(self, x):
            return super().forward(x) * 2

    assert Backprop.of(Mine(input_shape=[4], outputs=3), loss) is None
    assert Backprop.of(torch.nn.Linear(4, 3), loss) is None
    assert Backprop.of(MLP(input_shape=[4], outputs=3), lambda logits, labels: logits.sum()) is None
    net = MLP(input_shape=[4], outputs=3)
    handle = net.layers[0].register_forward_hook(lambda *_: None)
    assert Backprop.of(net, loss) is None
    handle.remove()
    assert Backprop.of(net, loss) is not None
    net.layers[0].weight.register_hook(lambda gradient: gradient)
    assert Backprop.of(net, loss) is None
    net = MLP(input_shape=[4], outputs=3)
    written_out = Backprop.of(net, loss)
    assert written_out.is_valid(net, loss)
    net.layers[0].weight.requires_grad_(False)
    assert Backprop.of(net, loss) is None
    assert not written_out.is_valid(net, loss)
    net.layers[0].weight = torch.nn.Parameter(net.layers[0].weight.detach().clone())
    assert not written_out.is_valid(net, loss)


def _replace(net: MLP, number: int, module: nn.Module) -> None:
    net.layers[number] = module


class _Reversed(nn.Sequential):
    def forward(self, x):
        return super().forward(x).flip(1)


# Each makes of a network what it computes, or who learns of its gradients, something else; all types but two are exact.
CHANGES: dict[str, Callable[[MLP], object]] = {
    "forward of the network": lambda net: setattr(net, "forward", lambda x: net.layers(x.flatten(1)) * 2),
    "forward of a layer": lambda net: setattr(net.layers[0], "forward", lambda x: F.linear(x, net.layers[0].weight)),
    "forward of an activation": lambda net: setattr(net.layers[1], "forward", lambda x: x.clamp(0, 1)),
    "forward of the layers": lambda net: setattr(net.layers, "forward", lambda x: net.layers[0](x)),
    "another container": lambda net: setattr(net, "layers", _Reversed(*net.layers)),
    "another GELU": lambda net: _replace(net, 1, nn.GELU(approximate="tanh")),
    "another activation": lambda net: _replace(net, 1, nn.LeakyReLU()),
    "no bias": lambda net: _replace(net, 0, nn.Linear(4, 4, bias=False)),
    "shared weights": lambda net: setattr(net.layers[2], "weight", net.layers[0].weight),
    "one more activation": lambda net: net.layers.append(nn.ReLU()),
    "a parameter beside the layers": lambda net: setattr(net, "scale", nn.Parameter(torch.ones(1))),
    "a hook on a gradient": lambda net: net.layers[0].weight.register_post_accumulate_grad_hook(lambda _: None),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_network_changed_in_place_goes_through_autograd(change: str):
    net, loss = MLP(input_shape=[4], outputs=4, hidden=[4], activation="gelu"), make_loss("cross_entropy")
    before = Backprop.of(net, loss)
    assert before is not None
    assert before.is_valid(net, loss)
    CHANGES[change](net)
    assert Backprop.of(net, loss) is None
    assert not before.is_valid(net, loss)


def test_a_hook_on_all_modules_is_called():
    net, loss = MLP(input_shape=[4], outputs=3), make_loss("cross_entropy")
    listening = register_module_forward_hook(lambda *_: None)
    try:
        assert Backprop.of(net, loss) is None
    finally:
        listening.remove()
    assert Backprop.of(net, loss) is not None


def test_only_unweighted_losses_that_are_written_out_are():
    net, loss = MLP(input_shape=[4], outputs=3), make_loss("cross_entropy")
    assert Backprop.of(net, make_loss("cross_entropy", weight=torch.ones(3))) is None
    assert Backprop.of(net, make_loss("focal")) is None
    assert Backprop.of(net, make_loss(nn.MultiMarginLoss())) is None
    assert Backprop.of(net, make_loss("binary_cross_entropy", multilabel=True)) is None
    written_out = Backprop.of(net, loss)
    assert written_out is not None
    loss.register_forward_hook(lambda *_: None)
    assert not written_out.is_valid(net, loss)
    replaced = make_loss("cross_entropy")
    replaced.forward = lambda outputs, targets: outputs.sum()  # type: ignore[method-assign,assignment,misc]
    assert Backprop.of(net, replaced) is None


def test_another_network_loss_or_activation_than_it_was_made_for_is_noticed():
    net, loss = MLP(input_shape=[4], outputs=3), make_loss("cross_entropy")
    written_out = Backprop.of(net, loss)
    assert written_out is not None
    assert not written_out.is_valid(copy.deepcopy(net), loss)
    assert not written_out.is_valid(net, make_loss("cross_entropy", 0.1))
    assert not written_out.is_valid(net, SquaredError())
    _replace(net, 1, nn.Tanh())
    assert not written_out.is_valid(net, loss)
    assert Backprop.of(net, loss) is not None
