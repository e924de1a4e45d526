"""The written-out gradients are autograd's, and the network itself decides whether they serve."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.model.backprop import Backprop
from src.model.losses import make_loss, outputs_for
from src.model.mlp import MLP


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
    loss = make_loss(name, smoothing)
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
    assert written_out.holds
    net.layers[0].weight.requires_grad_(False)
    assert Backprop.of(net, loss) is None
    assert not written_out.holds
    net.layers[0].weight = torch.nn.Parameter(net.layers[0].weight.detach().clone())
    assert not written_out.holds
