"""Adam on one vector is Adam, and its optimizer never notices."""

from typing import Any

import lightning.pytorch as pl
import pytest


class Replaced(pl.Callback):
    """Puts a step of its own in place of the optimizer's, which takes that one and then the gradients away."""

    def __init__(self) -> None:
        self.steps = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        [optimizer] = trainer.optimizers
        original = optimizer.step

        def step(*_: Any) -> None:
            original()
            optimizer.zero_grad()
            self.steps += 1

        optimizer.step = step  # type: ignore[method-assign]


def test_an_optimizer_whose_step_was_replaced_takes_every_step(fit_here):
    replaced, calls = Replaced(), []
    listening = pl.callbacks.LambdaCallback(on_before_optimizer_step=lambda *_: calls.append(1))
    plain, found, followed = (
        fit_here("callbacks=none", "logger=none", extra=extra)["metrics"] for extra in ([], [replaced], [listening])
    )
    assert replaced.steps == len(calls) == 16  # a callback's hooks of a step are called, wherever they are defined
    assert found == pytest.approx(plain, abs=1e-4)
    assert followed == pytest.approx(plain, abs=1e-4)
