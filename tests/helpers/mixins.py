"""Tests that a LightningModule inherits, whoever wrote it:

    class TestMyModule(ModuleTests):
        words = ["task=my_module", "data=my_data", "monitor=val_loss", "trainer.max_epochs=2"]

Choose settings with which two epochs of at least three batches take a second or two.
"""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import lightning.pytorch as pl
import pytest
import torch

from src.analysis.evaluation import measure
from src.errors import Interrupted
from src.paths import ROOT
from src.records.record import Record
from src.training.weights import load_model
from tests.helpers.fitting import fit_in
from tests.helpers.outcome import differences, outcome
from tests.helpers.resume import Cut


class Watched(pl.Callback):
    """Keeps the weights before training, and the loss of every batch: what the training step returns, or a logged metric."""

    accepts_chunks = True

    def __init__(self, loss: str | None = None) -> None:
        self.loss, self.losses = loss, list[float]()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.initial = {name: value.detach().clone() for name, value in _trainable(pl_module)}

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: object, batch_idx: int
    ) -> None:
        if self.loss is not None:
            self.losses.append(float(trainer.callback_metrics[self.loss]))
        else:
            found = outputs if isinstance(outputs, torch.Tensor) else outputs.get("loss", outputs.get("train/loss"))
            self.losses.append(float(found))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.trained = {name: value.detach().clone() for name, value in _trainable(pl_module)}


def _trainable(module: pl.LightningModule) -> list[tuple[str, torch.Tensor]]:
    return [(name, value) for name, value in module.named_parameters() if value.requires_grad]


class Kill(Cut):
    """Kills this process after so many batches, which nothing can handle."""

    def __init__(self, batches: int) -> None:
        super().__init__(batches, "killed")

    def on_train_batch_end(self, *_: Any) -> None:
        self.chunks -= 1
        if self.chunks == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class KillOnceSaved(pl.callbacks.Checkpoint):
    """Kills this process at the end of an epoch, counted from 0, right after the checkpoints that are saved then."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == self.epoch:
            os.kill(os.getpid(), signal.SIGKILL)


def in_a_process(function: Callable[..., Any], *args: Any) -> int:
    """Call a function in a process forked from this one; returns its exit status, negative for a signal."""
    process = multiprocessing.get_context("fork").Process(target=function, args=args)
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


class ModuleTests:
    """What holds for every LightningModule on every LightningDataModule.

    Attributes:
        words: overrides that choose both and make the training short, with two epochs or more.
        loss: the logged metric that falls, of a module whose training step returns no loss.
        overfit_steps: optimizer steps on one batch, after which its loss is below ``overfit_ratio`` times the first.
        overfit_words: overrides for that training alone.
        distributed_words: further overrides for a training in two processes on the CPU; None if it is refused there.
    """

    words: ClassVar[Sequence[str]]
    loss: ClassVar[str | None] = None
    overfit_steps: ClassVar[int] = 60
    overfit_ratio: ClassVar[float] = 0.5
    overfit_words: ClassVar[Sequence[str]] = ()
    distributed_words: ClassVar[Sequence[str] | None] = ()

    @classmethod
    def write_data(cls, folder: Path) -> Sequence[str]:
        """Write the files that the data module reads; returns overrides that name them."""
        return ()

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return tmp_path_factory.mktemp(cls.__name__)

    @pytest.fixture(scope="class")
    @classmethod
    def settings(cls, folder: Path) -> list[str]:
        return [*cls.words, "logger=both", *cls.write_data(folder)]

    @pytest.fixture(scope="class")
    @classmethod
    def whole(cls, folder: Path, settings: list[str]) -> dict[str, Any]:
        """A training that nothing interrupts."""
        watched = Watched(cls.loss)
        result = fit_in(folder / "whole", settings, [watched])
        epochs = torch.load(folder / "whole/checkpoints/last.ckpt", weights_only=True)["epoch"] + 1
        batches = len(watched.losses) // epochs
        assert epochs > 1
        assert batches > 2
        return {**result, "batches": batches}

    @pytest.fixture(scope="class")
    @classmethod
    def recorded(cls, folder: Path, settings: list[str]) -> Record:
        """A training by the command, in two processes if possible."""
        words, devices = cls.distributed_words or (), 1 if cls.distributed_words is None else 2
        command(folder, "train", *settings, *words, "trainer.accelerator=cpu", f"trainer.devices={devices}")
        [path] = folder.glob("outputs/runs/*/run.json")
        return Record.load(path.parent)

    def test_one_batch_trains_every_parameter(self, tmp_path: Path, settings: list[str]):
        watched = Watched(self.loss)
        limits = [f"+trainer.limit_{stage}_batches=1" for stage in ("train", "val", "test")]
        fit_in(tmp_path / "run", [*settings, *limits, "trainer.max_epochs=1"], [watched])
        same = [name for name, value in watched.trained.items() if torch.equal(value, watched.initial[name])]
        assert not same

    def test_the_loss_of_one_batch_falls(self, tmp_path: Path, settings: list[str]):
        watched = Watched(self.loss)
        limits = ["+trainer.overfit_batches=1", "+trainer.limit_val_batches=0", "monitor=null"]
        words = [*settings, *limits, f"trainer.max_epochs={self.overfit_steps}", *self.overfit_words]
        fit_in(tmp_path / "run", words, [watched])
        assert watched.losses[-1] < self.overfit_ratio * watched.losses[0]

    def test_a_checkpoint_rebuilds_the_module(self, whole: dict[str, Any]):
        path = whole["directory"] / "checkpoints" / "last.ckpt"
        saved = torch.load(path, weights_only=True)
        module: Any = load_model(path)
        module = getattr(module, "classifier", module)
        assert not differences(dict(module.state_dict()), dict(saved["state_dict"]))
        assert not module.training

    def test_its_weights_are_evaluated_as_in_training(self, whole: dict[str, Any]):
        logged = {name: value for name, value in whole["metrics"].items() if name.startswith("val")}
        if not logged:
            pytest.skip("it has no validation")
        record = Record.load(whole["directory"])
        record.update(status="done")
        assert measure(record, "last", "val").entry["metrics"] == pytest.approx(logged, rel=1e-6)

    @pytest.mark.parametrize("epoch", [0, 1])
    @pytest.mark.parametrize("how", ["told", "killed", "killed once saved"])
    def test_interrupted_and_resumed(
        self, tmp_path: Path, settings: list[str], whole: dict[str, Any], how: str, epoch: int
    ):
        """By a signal, which saves a checkpoint within the epoch; killed, and resumed from the end of the epoch before; or killed
        right after the epoch's checkpoint was saved.
        """
        directory, batches = tmp_path / "cut", epoch * whole["batches"] + whole["batches"] // 2 + 1
        if how == "told":
            with pytest.raises(Interrupted):
                fit_in(directory, settings, [Cut(batches, how)])
        else:
            kill = Kill(batches) if how == "killed" else KillOnceSaved(epoch)
            assert in_a_process(fit_in, directory, settings, [kill]) == -signal.SIGKILL
        resumed = fit_in(directory, settings)
        assert differences(outcome(directory), outcome(whole["directory"])) == []
        assert (resumed["metrics"], resumed["best"]) == (whole["metrics"], whole["best"])

    def test_two_processes_measure_what_one_does(self, recorded: Record):
        if self.distributed_words is None:
            pytest.skip("it is not trained in several processes on the CPU")
        assert recorded.status == "done"
        assert recorded.values["environment"]["devices"] == 2
        for split, checkpoint in (("val", "last"), ("test", "best")):
            logged = {name: one for name, one in recorded.values["metrics"].items() if name.startswith(split)}
            if logged:
                alone = measure(recorded, checkpoint, split).entry["metrics"]
                assert alone == pytest.approx(logged, rel=1e-6)

    def test_the_run_table_shows_it(self, folder: Path, recorded: Record):
        id = recorded.values["id"]
        [row] = json.loads(command(folder, "runs", "ls", "--json"))
        assert (row["id"], row["status"]) == (id, "done")
        assert id in command(folder, "runs", "ls")
        shown = command(folder, "runs", "show", id)
        for name in recorded.values["metrics"]:
            assert name in shown


def command(folder: Path, module: str, *words: str) -> str:
    """What ``python -m src.<module> <words>`` prints; its runs are below ``folder``."""
    done = subprocess.run(
        [sys.executable, "-m", f"src.{module}", *words],
        cwd=ROOT,
        env={**os.environ, "OUTPUTS_DIR": str(folder / "outputs"), "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
