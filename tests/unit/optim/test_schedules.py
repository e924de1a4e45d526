"""Schedules: the learning rate of each step, by the formulas."""

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer

from src.data.normalize import Normalize
from src.errors import UserError
from src.optim import schedules
from src.optim.optimizers import Muon
from src.training.weights import load_model


def test_raw_grey_values_reach_the_network_as_minus_one_to_one_and_the_callers_tensor_is_left_alone():
    normalize = Normalize(127.5, 127.5)
    assert normalize(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1.0, 1.0]
    mine = torch.tensor([0.0, 255.0])
    assert normalize.inverse(normalize(mine)).tolist() == [0.0, 255.0]
    assert mine.tolist() == [0.0, 255.0]


def rates(schedule: str, steps: int, **settings: float) -> list[float]:
    optimizer = SGD([nn.Parameter(torch.ones(1))], lr=2.0)
    made = getattr(schedules, schedule)(optimizer, steps_per_epoch=10, max_epochs=10, **settings)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if made is not None:
            made.step()
    return [*seen, optimizer.param_groups[0]["lr"]]


def test_a_constant_rate_stays():
    assert set(rates("constant", 100)) == {2.0}


def test_a_cosine_ends_at_its_final_ratio_by_the_formula():
    seen = rates("cosine", 100, final_ratio=0.1)
    expected = [0.2 + (2.0 - 0.2) * (1 + math.cos(math.pi * step / 100)) / 2 for step in range(101)]
    assert seen == pytest.approx(expected, abs=1e-9)


def test_a_step_schedule_falls_after_its_epochs():
    seen = rates("step", 100, step_size=3.0, gamma=0.5)
    assert seen[29:31] == pytest.approx([2.0, 1.0])
    assert seen[59:61] == pytest.approx([1.0, 0.5])
    assert seen[100] == pytest.approx(0.25)


def test_an_exponential_schedule_leaves_its_factor_after_each_epoch():
    seen = rates("exponential", 100, gamma=0.8)
    assert [seen[10 * epoch] for epoch in range(11)] == pytest.approx([2.0 * 0.8**epoch for epoch in range(11)])


def test_one_cycle_rises_to_the_rate_and_falls_to_the_end():
    seen = rates("one_cycle", 100, pct_start=0.3, div_factor=10.0, final_div_factor=100.0)
    assert seen[0] == pytest.approx(0.2)
    assert max(seen) == pytest.approx(2.0)
    assert seen.index(max(seen)) == 29
    assert seen[99] == pytest.approx(0.002)


def test_one_cycle_gives_no_momentum_to_an_optimizer_without():
    for momentum in (0.0, 0.9):
        optimizer = SGD([nn.Parameter(torch.ones(1))], lr=2.0, momentum=momentum)
        schedules.one_cycle(optimizer, steps_per_epoch=10, max_epochs=10)
        assert (optimizer.param_groups[0]["momentum"] > 0) == (momentum > 0)


def groups_of(optimizer: Optimizer, schedule: str, **settings: Any) -> list[list[dict[str, Any]]]:
    """The optimizer's groups at each of 100 steps; a plateau sees a loss that never improves."""
    made = getattr(schedules, schedule)(optimizer, steps_per_epoch=10, max_epochs=10, **settings)
    seen = []
    for _ in range(100):
        seen.append([dict(group) for group in optimizer.param_groups])
        optimizer.step()
        made.step(*([1.0] if schedule == "plateau" else []))
    return seen


@pytest.mark.parametrize(
    ("schedule", "settings", "end"),
    [
        ("constant", {"warmup_epochs": 1.0}, 1.0),
        ("step", {"step_size": 3.0, "warmup_epochs": 1.0}, 1e-2),
        ("exponential", {"gamma": 0.8, "warmup_epochs": 1.0}, 0.8**8.9),
        ("cosine", {"final_ratio": 0.1, "warmup_epochs": 1.0}, 0.1003),
        ("one_cycle", {}, 4e-6),
        ("plateau", {"monitor": "val/loss", "min_ratio": 1e-3}, 1e-3),
    ],
)
def test_groups_of_different_learning_rates_go_through_a_schedule_alike(
    schedule: str, settings: dict[str, Any], end: float
):
    bases = [2.0, 2e-3, 2e-9]
    optimizer = SGD([{"params": [nn.Parameter(torch.ones(1))], "lr": lr} for lr in bases], lr=1.0)
    for groups in (seen := groups_of(optimizer, schedule, **settings)):
        ratios = [group["lr"] / lr for group, lr in zip(groups, bases, strict=True)]
        assert ratios == pytest.approx([ratios[0]] * 3)
    assert seen[-1][0]["lr"] == pytest.approx(2.0 * end, rel=1e-3)


def test_one_cycle_moves_the_momentum_of_each_group_that_has_one():
    weights = [nn.Parameter(torch.ones(2, 2)) for _ in range(3)]
    seen = groups_of(Muon(weights, lr=0.02, adamw_lr=1e-4), "one_cycle")
    for step, momentum in ((0, 0.95), (29, 0.85), (99, 0.95)):
        hidden, rest = seen[step]
        assert (hidden["momentum"], rest["betas"]) == (pytest.approx(momentum), (pytest.approx(momentum), 0.999))
    mixed = SGD([{"params": weights[:1], "momentum": 0.9}, {"params": weights[1:]}], lr=1.0)
    assert [group["momentum"] for group in groups_of(mixed, "one_cycle")[29]] == [pytest.approx(0.85), 0.0]


@pytest.mark.parametrize("rise", [0.01, 1.0])
def test_one_cycle_may_rise_for_one_step_or_to_the_last(rise: float):
    seen = rates("one_cycle", 100, pct_start=rise)
    assert seen[0] == pytest.approx(0.08 if rise == 1 else 2.0)
    assert seen[99] == pytest.approx(2.0 if rise == 1 else 8e-6)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_warm_up_rises_linearly_to_the_full_rate(schedule: str):
    seen = rates(schedule, 100, warmup_epochs=1.0)
    assert seen[:11] == pytest.approx([2.0 * (step + 1) / 11 for step in range(11)])
    assert max(seen) == pytest.approx(2.0)
    assert seen[-1] == pytest.approx(2.0 if schedule == "constant" else 0.0, abs=1e-9)


def test_an_address_or_a_missing_file_is_no_checkpoint():
    for path in ("https://example.org/x.ckpt", "/nowhere/x.ckpt"):
        with pytest.raises(UserError, match="no such checkpoint"):
            load_model(path)
