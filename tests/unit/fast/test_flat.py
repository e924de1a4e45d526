"""Adam on one vector is Adam, and its optimizer never notices."""

import copy
from collections.abc import Iterator
from types import MethodType

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import StepLR
from torch.optim.optimizer import register_optimizer_step_post_hook

from src.fast.flat import FlatAdam

KINDS = [(torch.optim.Adam, {}), (torch.optim.Adam, {"weight_decay": 0.1}), (torch.optim.AdamW, {"betas": (0.8, 0.9)})]


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()


def gradients(net: nn.Module, steps: int, seed: int = 0) -> Iterator[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    size = sum(map(torch.numel, net.parameters()))
    return (torch.randn(size, dtype=torch.float64, generator=generator) for _ in range(steps))


def plainly(net: nn.Module, optimizer: torch.optim.Optimizer, steps: int, seed: int = 0) -> None:
    for gradient in gradients(net, steps, seed):
        for parameter, part in zip(
            net.parameters(), gradient.split([p.numel() for p in net.parameters()]), strict=True
        ):
            parameter.grad = part.view_as(parameter).clone()
        optimizer.step()


def flatly(net: nn.Module, optimizer: torch.optim.Adam, steps: int, seed: int = 0) -> FlatAdam:
    parameters = list(net.parameters())
    assert FlatAdam.supports(optimizer, parameters)
    gradient = torch.zeros(sum(map(torch.numel, parameters)), dtype=torch.float64)
    flat = FlatAdam(optimizer, parameters, gradient)
    for one in gradients(net, steps, seed):
        gradient.copy_(one)
        flat.step()
    flat.sync_state()
    return flat


def gathering(net: nn.Module, optimizer: torch.optim.Adam, steps: int, seed: int = 0) -> None:
    """With gradients that each parameter has by itself."""
    flat = FlatAdam(optimizer, list(net.parameters()))
    for gradient in gradients(net, steps, seed):
        parts = gradient.split([p.numel() for p in net.parameters()])
        for parameter, part in zip(net.parameters(), parts, strict=True):
            parameter.grad = part.view_as(parameter).clone()
        assert flat.gather_grads()
        flat.step()
    flat.sync_state()


def both_equal(one: tuple[nn.Module, torch.optim.Optimizer], other: tuple[nn.Module, torch.optim.Optimizer]) -> None:
    for a, b in zip(one[0].parameters(), other[0].parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)
    states = [optimizer.state_dict()["state"] for _, optimizer in (one, other)]
    for number, state in states[0].items():
        for name, value in state.items():
            torch.testing.assert_close(value, states[1][number][name], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("kind", "settings"), KINDS)
def test_weights_and_state_are_those_of_the_optimizers_own_steps(kind: type[torch.optim.Adam], settings: dict):
    pairs = []
    for steps in (plainly, flatly, gathering):
        net = network()
        optimizer = kind(net.parameters(), lr=1e-2, fused=True, **settings)
        steps(net, optimizer, 7)
        pairs.append((net, optimizer))
    both_equal(*pairs[:2])
    both_equal(*pairs[1:])


def test_a_parameter_without_a_gradient_is_told():
    net = network()
    flat = FlatAdam(torch.optim.Adam(net.parameters(), fused=True), list(net.parameters()))
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    assert flat.gather_grads()
    net[0].weight.grad = None
    assert not flat.gather_grads()


def test_the_rate_is_read_at_each_step():
    net = network()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.0, fused=True)
    before = copy.deepcopy(net.state_dict())
    flat = flatly(net, optimizer, 2)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    optimizer.param_groups[0]["lr"] = 0.1
    flat.step()
    assert not any(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_saved_state_is_gone_on_with_by_either_way(tmp_path):
    pairs = []
    for ways in ((plainly, plainly), (flatly, flatly), (flatly, plainly), (plainly, flatly)):
        net = network()
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2, fused=True)
        ways[0](net, optimizer, 3)
        torch.save([net.state_dict(), optimizer.state_dict()], tmp_path / "saved")
        weights, state = torch.load(tmp_path / "saved", weights_only=True)
        again = network()
        again.load_state_dict(weights)
        later = torch.optim.Adam(again.parameters(), lr=1e-2, fused=True)
        later.load_state_dict(state)
        ways[1](again, later, 4, seed=1)
        assert {float(one["step"]) for one in later.state.values()} == {7.0}
        pairs.append((again, later))
    for pair in pairs[1:]:
        both_equal(pairs[0], pair)


def test_it_notices_when_somebody_else_takes_over():
    net = network()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2, fused=True)
    flat = flatly(net, optimizer, 1)
    assert flat.is_valid
    listening = optimizer.register_step_post_hook(lambda *_: None)
    assert not flat.is_valid
    assert not FlatAdam.supports(optimizer, list(net.parameters()))
    listening.remove()
    assert flat.is_valid
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert not flat.is_valid
    flat = flatly(net, optimizer, 1)
    net[0].weight.data = net[0].weight.data.clone()
    assert not flat.is_valid


def test_what_it_cannot_do_is_left_to_the_optimizer():
    parameters = list(network().parameters())
    assert FlatAdam.supports(torch.optim.Adam(parameters, fused=True), parameters)
    assert not FlatAdam.supports(torch.optim.Adam(parameters), parameters)
    assert not FlatAdam.supports(torch.optim.Adam(parameters, fused=True, amsgrad=True), parameters)
    assert not FlatAdam.supports(torch.optim.SGD(parameters, lr=0.1), parameters)
    assert not FlatAdam.supports(torch.optim.Adam(parameters, fused=True), parameters[1:])
    mixed = [*parameters, nn.Parameter(torch.zeros(3, dtype=torch.float32))]
    assert not FlatAdam.supports(torch.optim.Adam(mixed, fused=True), mixed)
    groups = [{"params": parameters[:1]}, {"params": parameters[1:], "lr": 1.0}]
    assert not FlatAdam.supports(torch.optim.Adam(groups, fused=True), parameters)


def test_a_step_that_is_not_the_optimizers_own_is_left_to_it():
    parameters = list(network().parameters())

    def adam() -> torch.optim.Adam:
        return torch.optim.Adam(parameters, fused=True)

    scheduled = adam()
    StepLR(scheduled, 3)  # which wraps the step to see that it is taken
    assert FlatAdam.supports(scheduled, parameters)
    for optimizer in (scheduled, adam()):
        optimizer.step = MethodType(lambda self: None, optimizer)  # type: ignore[method-assign]
        assert not FlatAdam.supports(optimizer, parameters)
    StepLR(optimizer, 3)
    assert not FlatAdam.supports(optimizer, parameters)
    listening = register_optimizer_step_post_hook(lambda *_: None)
    assert not FlatAdam.supports(adam(), parameters)
    listening.remove()
    assert FlatAdam.supports(adam(), parameters)


def test_it_notices_settings_that_it_does_not_know():
    net = network()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2, fused=True)
    flat = flatly(net, optimizer, 1)
    optimizer.param_groups[0]["maximize"] = True
    assert not flat.is_valid
    optimizer.param_groups[0]["maximize"] = False
    optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1, dtype=torch.float64))]})
    assert not flat.is_valid
