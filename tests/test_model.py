"""Networks, the classifier around them, and schedules, without Hydra and without a run directory."""

import logging
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer

from src.data.normalize import Normalize
from src.errors import UserError
from src.models.mlp import MLP
from src.optim import schedules
from src.optim.optimizers import Muon
from src.paths import ROOT
from src.training.weights import load_model


def test_the_default_network_is_784_128_64_10_with_109386_parameters():
    net = MLP(input_shape=(28, 28), outputs=10)
    assert [tuple(layer.weight.shape) for layer in net.layers if isinstance(layer, nn.Linear)] == [
        (128, 784),
        (64, 128),
        (10, 64),
    ]
    assert sum(parameter.numel() for parameter in net.parameters()) == 109_386
    assert net(torch.zeros(3, 28, 28)).shape == (3, 10)


@pytest.mark.parametrize("hidden", [[], [5], [7, 6, 5, 4]])
def test_widths_of_any_number(hidden: list[int]):
    net = MLP(input_shape=(2,), outputs=3, hidden=hidden, dropout=0.5)
    assert net(torch.zeros(1, 2)).shape == (1, 3)
    assert sum(isinstance(layer, nn.Dropout) for layer in net.layers) == len(hidden)


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


class Answer(nn.Module):
    """Answers with something made of the logits."""

    def __init__(self, make: Any) -> None:
        super().__init__()
        self.linear, self.make = nn.Linear(784, 10), make

    def forward(self, x: torch.Tensor) -> Any:
        return self.make(self.linear(x.flatten(1)))


class SetNet(pl.Callback):
    def __init__(self, net: nn.Module) -> None:
        self.net = net

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        pl_module.net = self.net


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda logits: (logits, logits), "a tuple"),
        (lambda logits: logits.mean(0, keepdim=True), r"a tensor of shape \(1, 10\)"),  # would be broadcast
        (lambda logits: logits.repeat(1, 2), r"a tensor of shape \(64, 20\)"),  # would be classes that no label has
    ],
)
def test_a_network_must_return_logits_of_the_right_shape(fit_here, make: Any, found: str):
    with pytest.raises(UserError, match=rf"returned {found} for 64 samples: .* of shape \(64, 10\)"):
        fit_here("callbacks=none", "logger=none", "task.loss=squared_error", extra=[SetNet(Answer(make))])


def test_a_network_without_a_linear_layer_has_nothing_to_project(fit_here, caplog: pytest.LogCaptureFixture):
    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(1, 10, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.convolution(x.unsqueeze(1)).amax((2, 3))

    with caplog.at_level(logging.WARNING):
        fit_here("callbacks=[none,projector]", "trainer.max_epochs=1", extra=[SetNet(Pooled())])
    assert any("callbacks.projector" in record.getMessage() for record in caplog.records)


def test_batch_normalisation_of_any_network_needs_the_whole_batch(tmp_path: Path):
    """On two processes, past the check of the setting ``model.norm``, which other networks do not have."""
    words = ["model.norm=batch", "trainer=cpu", "trainer.devices=2", "data.train_size=128", "callbacks=none"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.losses", str(tmp_path), *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode != 0
    assert "batch normalisation on 2 CPU processes" in done.stderr
