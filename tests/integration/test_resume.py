"""A run that was cut off anywhere and resumed ends as the run that was never cut off: bit for bit, and in every file."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from src.data.chunks import Chunk, ChunkLoader
from src.errors import Interrupted
from tests.conftest import Fit
from tests.helpers.fitting import fit_in
from tests.helpers.resume import SHORT, Cut, assert_same_run


def cut_and_resume(fit_here: Fit, tmp_path: Path, words: list[str], *cuts: tuple[int, str]) -> dict[str, Any]:
    directory = tmp_path / "cut"
    for chunks, how in cuts:
        with pytest.raises((Interrupted, RuntimeError)):
            fit_here(*words, extra=[Cut(chunks, how)], small=False, into=directory)
    return fit_here(*words, small=False, into=directory)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The run that was never cut off."""
    return fit_in(tmp_path_factory.mktemp("whole"), SHORT)


@pytest.mark.parametrize("how", ["told", "killed"])
@pytest.mark.parametrize("chunks", [1, 3, 4, 7, 9, 10])
def test_cut_off_anywhere(fit_here: Fit, whole: dict[str, Any], tmp_path: Path, chunks: int, how: str):
    cut = cut_and_resume(fit_here, tmp_path, SHORT, (chunks, how))
    assert_same_run(cut, whole)


def test_cut_off_again_and_again(fit_here: Fit, whole: dict[str, Any], tmp_path: Path):
    cut = cut_and_resume(fit_here, tmp_path, SHORT, (2, "told"), (1, "told"), (2, "killed"), (4, "told"))
    assert_same_run(cut, whole)
    state = torch.load(cut["directory"] / "checkpoints" / "last.ckpt", weights_only=True)["recorder"]
    assert state["samples"] == {"1": 3 * 512}
    assert cut["samples_per_s"] == round(3 * 512 / state["seconds"], 1)
    tested_again = fit_here(*SHORT, small=False, into=cut["directory"])
    assert tested_again["samples_per_s"] == cut["samples_per_s"]


@pytest.mark.parametrize(
    "words",
    [
        ["schedule=step", "schedule.step_size=0.5", "optimizer=rmsprop"],
        ["schedule=exponential", "schedule.warmup_epochs=1.5", "callbacks=ema", "callbacks.ema.decay=0.9"],
        ["schedule=cosine", "optimizer=muon"],
        ["schedule=one_cycle", "model.norm=batch", "data.val_size=0"],
        [
            *("schedule=plateau", "schedule.patience=0", "optimizer.lr=0.1"),
            *("data.augment.shift=2", "data.augment.elastic=1", "data.augment.erasing=0.5"),
        ],
        [
            *("trainer.precision=bf16-mixed", "task.class_weights=balanced"),
            *("task.metrics=[acc,f1,auroc]", "monitor=val/f1"),
        ],
        ["callbacks=early_stopping", "callbacks.early_stopping.min_delta=1.0", "callbacks.early_stopping.patience=1"],
    ],
    ids=lambda words: words[0],
)
def test_whatever_is_chosen(fit_here: Fit, tmp_path: Path, words: list[str]):
    cut = cut_and_resume(fit_here, tmp_path, [*SHORT, *words], (2, "told"), (3, "told"))
    assert_same_run(cut, fit_here(*SHORT, *words, small=False))


def test_every_epoch_sees_every_sample_once_through_cuts(
    fit_here: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: dict[int, list[int]] = {}
    deal = ChunkLoader._chunk

    def watch(self: ChunkLoader, order: torch.Tensor, position: int) -> Chunk:
        chunk = deal(self, order, position)
        if self.seed is not None:
            start = chunk.first_step * self.batch_size
            seen.setdefault(self.epoch, []).extend(order[start : start + sum(chunk.totals)].tolist())
        return chunk

    monkeypatch.setattr(ChunkLoader, "_chunk", watch)
    cut_and_resume(fit_here, tmp_path, SHORT, (2, "told"), (3, "told"), (1, "told"))
    assert [sorted(seen[epoch]) for epoch in range(3)] == [list(range(512))] * 3
    assert len({tuple(samples) for samples in seen.values()}) == 3


def test_a_best_checkpoint_outlives_worse_epochs_after_a_resume(fit_here: Fit, tmp_path: Path):
    words = [*SHORT, "optimizer=sgd", "optimizer.lr=1e-12"]  # nothing is learnt, so the first epoch stays the best
    directory = tmp_path / "cut"
    fit_here(*words, "trainer.max_epochs=1", small=False, into=directory)
    before = (directory / "checkpoints" / "best.ckpt").read_bytes()
    result = fit_here(*words, small=False, into=directory)
    assert (directory / "checkpoints" / "best.ckpt").read_bytes() == before
    assert result["best"]["epoch"] == 0
    assert torch.load(directory / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 2


class Unfreeze(pl.Callback):
    """Trains the first layer from the second epoch on, so that its parameters take fewer steps than the others."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        pl_module.net.layers[0].requires_grad_(trainer.current_epoch > 0)


def test_parameters_that_have_taken_different_numbers_of_steps_keep_them(fit_here: Fit, tmp_path: Path):
    words = [word for word in SHORT if "dropout" not in word]
    directory = tmp_path / "cut"
    with pytest.raises(Interrupted):
        fit_here(*words, extra=[Unfreeze(), Cut(7, "told")], small=False, into=directory)
    resumed = fit_here(*words, extra=[Unfreeze()], small=False, into=directory)
    assert_same_run(resumed, fit_here(*words, extra=[Unfreeze()], small=False))
