"""Networks, the classifier around them, and schedules, without Hydra and without a run directory."""

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import nn

from src.errors import UserError
from src.paths import ROOT


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
        [sys.executable, "-m", "tests.helpers.losses", str(tmp_path), *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode != 0
    assert "batch normalisation on 2 CPU processes" in done.stderr
