"""Muon, and combinations of optimizers and schedules that are refused."""

import copy

import pytest
import torch

from src.config.command_line import parse
from src.config.compose import preflight
from src.errors import ConfigError
from src.optim.optimizers import Muon, orthogonalised
from src.training.check import check_targets


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["schedule=plateau", "data.val_size=0", "schedule.monitor=val/loss"], "schedule.monitor=val/loss"),
        (["callbacks=early_stopping", "data.val_size=0"], "callbacks.early_stopping.monitor=null"),
        (["task.loss=squared_error", "task.label_smoothing=0.1"], "label_smoothing"),
        (["task.loss=binary_cross_entropy"], "data set has 10"),
        (["data=points", "data.val_size=4"], "data.val_size=4"),
        (["callbacks=ema", "callbacks.ema.decay=1.0"], "decay=1.0"),
        (["schedule=one_cycle", "schedule.pct_start=1.5"], "pct_start=1.5"),
        (["optimizer=muon", "model=linear"], "optimizer: Muon optimizes hidden layers"),
        (["data.augment.shift=-1"], "data.augment.shift=-1"),
        (["+data.augment.shfit=1"], "'shift'"),
    ],
)
def test_wrong_combinations_are_refused_in_a_sentence(words: list[str], said: str):
    def refuse() -> None:
        for config in preflight(parse(words)):
            check_targets(config)

    with pytest.raises(ConfigError) as refused:
        refuse()
    assert said in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (6, 6)])
def test_singular_values_alone_go_through_the_iteration(shape: tuple[int, int]):
    matrix = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    left, values, right = torch.linalg.svd(matrix / matrix.norm(), full_matrices=False)
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    torch.testing.assert_close(orthogonalised(matrix), left * values @ right)
    torch.testing.assert_close(orthogonalised(matrix.float()), (left * values @ right).float(), rtol=1e-3, atol=1e-4)


def test_muon_orthogonalises_hidden_matrices_and_goes_on_from_its_state():
    torch.manual_seed(0)

    def network() -> tuple[torch.nn.Sequential, Muon]:
        net = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3))
        return net, Muon(net.parameters(), lr=0.1, momentum=0.0, weight_decay=0.0, adamw_lr=0.01)

    def step(net: torch.nn.Sequential, optimizer: Muon, x: torch.Tensor) -> None:
        optimizer.zero_grad()
        net(x).square().sum().backward()
        optimizer.step()

    net, optimizer = network()
    before = net[0].weight.detach().clone(), net[2].weight.detach().clone()
    x = torch.randn(20, 6)
    step(net, optimizer, x)
    moved = (before[0] - net[0].weight.detach()) / 0.1
    assert torch.linalg.svdvals(moved).min() > 0.5  # near one each, as torch's five iterations leave them
    assert (before[1] - net[2].weight.detach()).abs().max() == pytest.approx(0.01, rel=1e-3)  # Adam's first step

    again, resumed = network()
    again.load_state_dict(net.state_dict())
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for _ in range(3):
        step(net, optimizer, x)
        step(again, resumed, x)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))
