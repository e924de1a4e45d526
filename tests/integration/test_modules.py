"""Modules and data that Lightning trains in silence on less than was meant, or that no command could read again."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.demos.boring_classes import BoringDataModule, BoringModel, RandomDataset
from torch.utils.data import DataLoader

from src.api import train
from src.errors import ConfigError, Interrupted
from src.records.record import Record
from src.train import main
from tests.helpers.fitting import fit_in
from tests.helpers.resume import Cut

WORDS = ["trainer=cpu", "trainer.devices=1", "trainer.max_epochs=2", "callbacks=none", "logger=none"]


class KeepsAConfig(BoringModel):
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["config"] = {"mine": 1}


class LearnsNothing(BoringModel):
    def configure_optimizers(self) -> None:
        return None


class OnceOnly(BoringDataModule):
    def train_dataloader(self) -> Iterable[torch.Tensor]:
        return (batch for batch in DataLoader(RandomDataset(32, 4)))


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("OUTPUTS_DIR", str(tmp_path))

    def trained(task: BoringModel, data: BoringDataModule, *words: str) -> Record:
        record = train([*WORDS, *words], task=task, data=data)
        assert isinstance(record, Record)
        return record

    return trained


def test_a_module_may_not_replace_what_the_program_saves(trained: Any):
    record = trained(KeepsAConfig(), BoringDataModule())
    assert "checkpoint['config'] is the program's, and KeepsAConfig or its data module" in record.values["error"]


def test_a_module_without_optimizer_is_reported(trained: Any):
    record = trained(LearnsNothing(), BoringDataModule())
    [warning] = record.values["warnings"]
    assert "returned no optimizer" in warning["text"]


def test_a_loader_that_can_be_iterated_once_lasts_an_epoch(trained: Any):
    record = trained(BoringModel(), OnceOnly())
    assert "the training data has no batch in epoch 1, and had some in epoch 0" in record.values["error"]
    assert trained(BoringModel(), OnceOnly(), "trainer.max_epochs=1").status == "done"


@pytest.mark.parametrize(
    ("words", "objects", "message"),
    [
        (WORDS, {"task": BoringModel}, "task must be a LightningModule, and is the class BoringModel"),
        (WORDS, {"task": torch.nn.Linear(1, 1)}, "task must be a LightningModule, and is a Linear"),
        (WORDS, {"data": BoringModel()}, "data must be a LightningDataModule, and is a BoringModel"),
        ("trainer=cpu", {}, r"the words must be a list, as in train\(\['trainer=cpu'\]\)"),
    ],
)
def test_train_refuses_arguments_of_another_kind(words: Any, objects: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        train(words, **objects)


def test_a_resumed_average_of_weights_is_not_exact_and_the_record_says_so(tmp_path: Path):
    boring = "lightning.pytorch.demos.boring_classes.Boring"
    swa = "{_target_:lightning.pytorch.callbacks.StochasticWeightAveraging,swa_lrs:0.01,swa_epoch_start:1}"
    words = ["task=custom", f"task._target_={boring}Model", "data=custom", f"data._target_={boring}DataModule"]
    words += [*WORDS, "callbacks=default", f"+callbacks.swa={swa}"]
    with pytest.raises(Interrupted):
        fit_in(tmp_path / "run", words, [Cut(2, "told")])
    fit_in(tmp_path / "run", words)
    [warning] = Record.load(tmp_path / "run").values["warnings"]
    assert "StochasticWeightAveraging is not restored exactly" in warning["text"]


def test_a_stream_that_no_sampler_divides_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OUTPUTS_DIR", str(tmp_path))
    words = ["experiment=example_stream", "data.size=64", "trainer=cpu", "trainer.devices=2", "trainer.max_epochs=1"]
    assert main([*words, "callbacks=none", "logger=none"]) == 0
    [path] = tmp_path.glob("runs/*")
    [warning] = Record.load(path).values["warnings"]
    assert warning["text"].startswith("every process trained on all of ")
