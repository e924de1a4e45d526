"""Pruning of any LightningModule, and settings that are refused."""

from collections.abc import Iterator
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.demos.boring_classes import BoringModel
from torch.utils.data import DataLoader, IterableDataset

from src.callbacks.pruning import Pruning, sparsity
from src.config.command_line import parse
from src.config.compose import preflight
from src.errors import ConfigError
from src.tasks.base import SupervisedTask
from src.training.check import check_targets
from tests.helpers.tasks import Numbers, make_task


def fit(module: pl.LightningModule, pruning: Pruning, *data: Any, **options: Any) -> None:
    quiet: Any = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(accelerator="cpu", max_epochs=2, callbacks=[pruning], **quiet, **options)
    trainer.fit(module, *data)


def test_any_module_is_pruned_over_the_steps_that_it_takes():
    module = BoringModel()  # of one linear layer, 64 batches
    fit(module, Pruning(amount=0.5, end_epoch=1.5), accumulate_grad_batches=4, limit_train_batches=40)
    assert sparsity(module) == pytest.approx(0.5)


def test_a_regression_is_pruned_in_its_network_only():
    task: SupervisedTask = make_task(data := Numbers(), {"standardize_targets": True})
    fit(task, pruning := Pruning(amount=0.75, end_epoch=1), data)
    assert sparsity(task.net) == pytest.approx(0.75, abs=0.02)
    assert all(name.startswith("layers.") for name in pruning.state_dict()["masks"])


class Endless(IterableDataset[torch.Tensor]):
    def __iter__(self) -> Iterator[torch.Tensor]:
        while True:
            yield torch.randn(32)


def test_epochs_of_unknown_length_are_refused():
    with pytest.raises(ConfigError, match=r"epochs of a known length.*limit_train_batches"):
        fit(BoringModel(), Pruning(), DataLoader(Endless(), batch_size=2))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["callbacks.pruning.amount=1"], "amount=1"),
        (["callbacks.pruning.end_epoch=11"], "end_epoch=11 must be at most trainer.max_epochs=10"),
        (["callbacks.pruning.start_epoch=2"], "at least start_epoch=2"),
        (["callbacks=[pruning,ema]"], "average"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(words: list[str], said: str):
    def refuse() -> None:
        [config] = preflight(parse(["callbacks=pruning", "trainer.max_epochs=10", *words]))
        check_targets(config)

    with pytest.raises(ConfigError) as refused:
        refuse()
    assert said in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
