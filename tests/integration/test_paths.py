"""The two ways of training: Lightning's own loop, and chunks of steps where nothing needs single ones."""

import json
import logging
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, StochasticWeightAveraging

from src.errors import Interrupted, UserError
from tests.conftest import Fit
from tests.helpers.fitting import fit_in
from tests.helpers.outcome import curves
from tests.helpers.paths import StepHook
from tests.helpers.resume import SHORT, Cut, assert_same_run
from tests.helpers.training import weights


def test_the_path_is_recorded_and_its_reason_logged(fit_here: Fit, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO):
        fast, plain = fit_here(), fit_here(extra=[StepHook()])
    assert (fast["fast_path"], plain["fast_path"]) == (True, False)
    assert json.loads((plain["directory"] / "run.json").read_text())["fast_path"] is False
    reasons = [record.getMessage() for record in caplog.records if "Lightning's own loop" in record.getMessage()]
    assert reasons == [
        "trained by Lightning's own loop, without the fast path for small networks: StepHook has the hook on_before_zero_grad"
    ]


CHOICES = [
    ["model.dropout=0.2", "optimizer=momentum", "schedule=one_cycle", "task.gradient_clip_norm=0.5"],
    ["schedule=plateau", "schedule.patience=0", "optimizer.lr=0.1", "data.augment.shift=2", "data.batch_size=48"],
    ["optimizer=muon", "callbacks=ema", "callbacks.ema.decay=0.9", "model.norm=layer"],
    ["callbacks=pruning", "schedule=plateau", "schedule.patience=0", "data.val_size=0"],
    ["callbacks=adversarial", "callbacks.adversarial.steps=2", "task.label_smoothing=0.1"],
    ["task.loss=squared_error", "model.activation=silu", "schedule=step", "schedule.step_size=0.5"],
]


@pytest.mark.parametrize("words", CHOICES, ids=lambda words: words[0])
def test_both_train_the_same(fit_here: Fit, words: list[str]):
    words = [*words, "trainer.precision=64-true"]
    fast, plain = (fit_here(*words, extra=extra) for extra in ([], [StepHook()]))
    for name, value in weights(fast["directory"], "last").items():
        torch.testing.assert_close(weights(plain["directory"], "last")[name], value, rtol=0, atol=1e-9)
    for name, value in fast["metrics"].items():
        assert plain["metrics"][name] == pytest.approx(value, abs=1e-9), name
    last = [torch.load(one["directory"] / "checkpoints/last.ckpt", weights_only=True) for one in (fast, plain)]
    assert last[0]["global_step"] == last[1]["global_step"]
    assert set(last[0]["state_dict"]) == set(last[1]["state_dict"])
    points = [curves(one["directory"]) for one in (fast, plain)]
    for tag in ("lr", "train/loss", "samples"):
        assert dict(points[0][tag]) == pytest.approx(dict(points[1][tag])), tag


class HookOnTask(pl.Callback):
    """Counts the calls of the LightningModule in training."""

    calls = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        def count(module: torch.nn.Module, *_: Any) -> None:
            self.calls += module.training

        pl_module.register_forward_hook(count)


def test_a_hook_on_the_task_is_called_at_every_step(fit_here: Fit):
    hook = HookOnTask()
    fast = fit_here(extra=[hook])
    assert fast["fast_path"] is True
    assert hook.calls == 16


class PlainCut(Cut):
    accepts_chunks = False


CUT = [*SHORT, "schedule=plateau", "schedule.patience=0", "optimizer.lr=0.1", "data.augment.shift=2"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, dict[str, Any]]:
    """The run that was never cut off, with and without the fast path."""
    return {fast: fit_in(tmp_path_factory.mktemp("whole"), CUT, [] if fast else [StepHook()]) for fast in (True, False)}


@pytest.mark.parametrize("how", ["told", "killed"])
@pytest.mark.parametrize("batches", [3, 8, 11, 24])
def test_a_run_in_lightnings_loop_that_is_cut_off_anywhere_ends_as_if_it_had_not_been(
    fit_here: Fit, whole: dict[bool, dict[str, Any]], tmp_path: Path, batches: int, how: str
):
    directory = tmp_path / "cut"
    with pytest.raises((Interrupted, RuntimeError)):
        fit_here(*CUT, extra=[PlainCut(batches, how)], small=False, into=directory)
    resumed = fit_here(*CUT, small=False, into=directory)  # the callback is gone, the path stays
    assert resumed["fast_path"] is (how == "killed" and batches <= 8)  # before the first checkpoint a run begins anew
    assert_same_run(resumed, whole[resumed["fast_path"]])


def test_a_run_begun_on_chunks_is_not_resumed_step_by_step(fit_here: Fit, tmp_path: Path):
    with pytest.raises(Interrupted):
        fit_here(extra=[Cut(1, "told")], into=tmp_path)
    with pytest.raises(UserError, match="not possible any more"):
        fit_here(extra=[StepHook()], into=tmp_path)


def test_lightnings_own_callbacks_work_in_its_loop(fit_here: Fit):
    """Those that need automatic optimization, single steps, or both."""
    averaging = StochasticWeightAveraging(swa_lrs=1e-3, swa_epoch_start=2)
    saving = ModelCheckpoint(filename="step-{step}", every_n_train_steps=5, save_top_k=-1)
    done = fit_here(extra=[averaging, saving, LearningRateMonitor()])
    assert done["fast_path"] is False
    assert done["metrics"]["test/acc"] > 0.3
    saved = {path.stem for path in done["directory"].rglob("step-*.ckpt")}
    assert {"step-step=5", "step-step=10", "step-step=15"} <= saved
    assert "lr-Adam" in curves(done["directory"])
