"""The training itself: equal to a plain loop, equal on any number of processes, and nothing saved of a broken one."""

import json
import math
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from src.data.mnist import MNIST
from src.errors import NonFiniteLoss
from src.paths import ROOT
from src.randomness import epoch_order
from src.training.weights import load_model
from tests.conftest import Fit
from tests.helpers.losses import Losses
from tests.helpers.outcome import curves
from tests.helpers.training import SMOOTH, weights

STEPS = 200


# 200 steps of the article's recipe, each logged.
ARTICLE = ["experiment=article", "trainer.max_epochs=1", "data.train_size=12800", "data.steps_per_execution=1"]


STEPS_AND_TOLERANCE = {"64-true": (STEPS, 1e-9), "32-true": (20, 1e-5)}


def plain_loop(dtype: torch.dtype, activation: type[nn.Module]) -> list[float]:
    """The losses of the article's recipe in plain torch: same initial weights, same batches."""
    data = MNIST(val_size=0, train_size=12800)
    data.setup("fit")
    images, digits = data.train_set
    torch.manual_seed(0)
    layers = [nn.Linear(784, 128), activation(), nn.Linear(128, 64), activation(), nn.Linear(64, 10)]
    net = nn.Sequential(*layers).to(dtype)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    losses = []
    for batch in epoch_order(0, 0, len(digits)).split(64):
        x = (images[batch].to(dtype).flatten(1) / 255 - 0.5) / 0.5
        loss = F.cross_entropy(net(x), digits[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize(("precision", "words"), [("64-true", []), ("32-true", [SMOOTH])])
def test_the_losses_are_those_of_a_plain_torch_loop(fit_here: Fit, precision: str, words: list[str]):
    recorded = Losses()
    result = fit_here(*ARTICLE, *words, f"trainer.precision={precision}", extra=[recorded], small=False)
    expected = plain_loop(torch.float32 if words else torch.float64, nn.GELU if words else nn.ReLU)
    assert len(recorded.values) == len(expected) == STEPS
    steps, tolerance = STEPS_AND_TOLERANCE[precision]
    assert recorded.values[:steps] == pytest.approx(expected[:steps], abs=tolerance)
    # Summed up in float64, whatever the precision of the training.
    assert result["metrics"]["train/loss"] == pytest.approx(statistics.fmean(recorded.values), rel=1e-12)


def test_chunks_change_nothing_but_the_speed(fit_here: Fit):
    one = fit_here(*ARTICLE, small=False)
    many = fit_here(*ARTICLE, "data.steps_per_execution=7", small=False)
    for name, value in weights(one["directory"]).items():
        assert torch.equal(value, weights(many["directory"])[name])
    assert one["metrics"]["train/loss"] == pytest.approx(many["metrics"]["train/loss"], abs=1e-5)


class Listener(pl.Callback):
    """Wants to see every step, so that Lightning has to go along with each."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def on_before_optimizer_step(self, trainer: pl.Trainer, *_: Any) -> None:
        self.steps.append(trainer.global_step)


@pytest.mark.parametrize("words", [[], ["model.dropout=0.2"], ["task.gradient_clip_norm=0.1"]])
def test_who_listens_to_steps_hears_each_and_changes_none(fit_here: Fit, words: list[str]):
    """Autograd under Lightning, autograd alone, and the gradients written out take the same steps."""
    listener = Listener()
    heard, alone = (
        fit_here(
            *ARTICLE[:3], "data.steps_per_execution=16", "trainer.precision=64-true", *words, extra=extra, small=False
        )
        for extra in ([listener], [])
    )
    assert listener.steps == list(range(STEPS))
    for name, value in weights(heard["directory"]).items():
        torch.testing.assert_close(value, weights(alone["directory"])[name], rtol=0, atol=1e-9)
    assert heard["metrics"]["train/acc"] == alone["metrics"]["train/acc"]


class Freeze(pl.Callback):
    """Stops training the first layer after the first epoch."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == 1:
            self.kept = pl_module.net.layers[0].weight.requires_grad_(False).detach().clone()


@pytest.mark.parametrize("words", [[], ["model.norm=layer"]])
def test_a_layer_that_is_frozen_while_it_trains_is_left_out_of_the_steps(fit_here: Fit, words: list[str]):
    words = [*words, "trainer.precision=64-true"]
    freeze = Freeze()
    heard, alone = (weights(fit_here(*words, extra=extra)["directory"]) for extra in ([Listener(), Freeze()], [freeze]))
    assert torch.equal(alone["net.layers.0.weight"], freeze.kept)
    for name, value in heard.items():
        torch.testing.assert_close(value, alone[name], rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("precision", "words"),
    [
        ("64-true", ["data.batch_size=77", "model.norm=layer"]),
        ("32-true", [SMOOTH]),
        pytest.param("64-true", [SMOOTH], marks=pytest.mark.slow),
    ],
)
def test_two_processes_and_two_threads_take_the_steps_of_one(
    fit_here: Fit, precision: str, words: list[str], tmp_path: Path
):
    steps, tolerance = STEPS_AND_TOLERANCE[precision]
    words = [*ARTICLE, *words, f"trainer.precision={precision}", f"data.train_size={64 * steps}"]
    one = Losses()
    fit_here(*words, extra=[one], small=False)
    assert len(one.values) == -(-64 * steps // (77 if "data.batch_size=77" in words else 64))
    for devices, threads in ((2, 1), (1, 2)):
        directory = tmp_path / f"{devices}-{threads}"
        directory.mkdir()
        call = [sys.executable, "-m", "tests.helpers.losses", str(directory), *words, f"trainer.devices={devices}"]
        # Threads that wait without spinning: beside another busy process it would take them ten times as long.
        env = {**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive"}
        done = subprocess.run(call, cwd=ROOT, env=env, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr
        losses = json.loads(done.stdout.splitlines()[-1])["losses"]
        assert losses == pytest.approx(one.values, abs=tolerance), (devices, threads)


def test_the_same_seed_gives_the_same_weights_bit_for_bit_and_another_seed_others(fit_here: Fit):
    words = ["model.dropout=0.3", "schedule=cosine"]
    first, again, other = (weights(fit_here(*words, f"seed={seed}")["directory"]) for seed in (4, 4, 5))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_dropout_does_not_depend_on_the_chunks(fit_here: Fit):
    words = ["model.dropout=0.3", "data.batch_size=32"]
    one, many = (fit_here(*words, f"data.steps_per_execution={n}")["directory"] for n in (1, 5))
    assert all(torch.equal(value, weights(many)[name]) for name, value in weights(one).items())


def test_a_loss_that_is_no_number_stops_the_run_names_the_step_and_keeps_the_last_good_checkpoint(
    fit_here: Fit, tmp_path: Path
):
    class Poison(Losses):
        """Breaks the weights in the second epoch, before its fifth step."""

        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: object, batch_idx: int) -> None:
            if trainer.current_epoch == 1 and batch_idx == 1:
                pl_module.net.layers[0].weight.data.fill_(float("nan"))

    with pytest.raises(NonFiniteLoss, match=r"nan at step 12, in epoch 2: lower optimizer.lr"):
        fit_here("data.steps_per_execution=4", extra=[Poison()])  # 512 samples: 8 steps an epoch
    kept = weights(tmp_path / "run-0")
    assert all(value.isfinite().all() for value in kept.values())
    record = json.loads((tmp_path / "run-0" / "run.json").read_text())
    assert record["best"]["epoch"] == 0


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_other_precisions_train(fit_here: Fit, precision: str):
    result = fit_here(f"trainer.precision={precision}", "data.train_size=2000", "trainer.max_epochs=3")
    assert result["metrics"]["test/acc"] > 0.6
    dtype = torch.float64 if precision == "64-true" else torch.float32
    assert all(value.dtype == dtype for value in weights(result["directory"]).values())


def test_gradients_are_clipped_to_the_norm(fit_here: Fit):
    class Norms(Losses):
        """The norm of the gradients each step was taken with."""

        def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:  # type: ignore[override]
            norms = [parameter.grad.norm() for parameter in pl_module.parameters()]
            self.values.append(torch.stack(norms).norm().item())

    norms = Norms()
    fit_here("task.gradient_clip_norm=0.01", "data.steps_per_execution=1", extra=[norms])
    assert len(norms.values) == 16
    assert max(norms.values) == pytest.approx(0.01, rel=1e-3)


def test_each_parameter_group_is_scheduled_and_logged_with_the_learning_rate_of_the_last_step(fit_here: Fit):
    words = ["optimizer=muon", "optimizer.lr=0.02", "optimizer.adamw_lr=1e-4", "schedule=cosine"]
    result = fit_here(*words, "schedule.final_ratio=0.1", "data.steps_per_execution=3")  # two epochs of eight steps
    logged = curves(result["directory"])
    for tag, lr in (("lr", 0.02), ("lr/pg2", 1e-4)):
        used = [lr * (0.1 + 0.9 * (1 + math.cos(math.pi * step / 16)) / 2) for step in range(16)]
        assert logged[tag] == [(8, pytest.approx(used[7])), (16, pytest.approx(used[15]))]
    state = torch.load(result["directory"] / "checkpoints" / "last.ckpt", weights_only=True)["optimizer_states"][0]
    assert [group["lr"] for group in state["param_groups"]] == pytest.approx([0.002, 1e-5])


def test_last_is_the_last_epoch_even_when_nothing_improves(fit_here: Fit):
    # A rate this high destroys what the first epoch has learnt.
    result = fit_here("optimizer=sgd", "optimizer.lr=1e-9", "monitor=train/loss", "mode=min", "trainer.max_epochs=3")
    directory = result["directory"]
    assert torch.load(directory / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 2
    assert result["best"]["epoch"] == torch.load(directory / "checkpoints" / "best.ckpt", weights_only=True)["epoch"]


def test_without_validation_the_last_weights_are_the_ones_tested(fit_here: Fit):
    result = fit_here("data.val_size=0")
    assert result["best"] == {"metric": None, "value": None, "epoch": 1, "checkpoint": "checkpoints/best.ckpt"}
    last = weights(result["directory"], "last")
    assert all(torch.equal(value, last[name]) for name, value in weights(result["directory"], "best").items())
    assert "val/acc" not in result["metrics"]


def test_a_checkpoint_is_plain_data_and_rebuilds_its_model_by_itself(fit_here: Fit):
    result = fit_here("model.dropout=0.1", "schedule=cosine", "schedule.warmup_epochs=0.5")
    data = MNIST()
    data.setup("test")
    images, digits = data.test_set
    for path in sorted((result["directory"] / "checkpoints").iterdir()):
        torch.load(path, weights_only=True)
        model = load_model(path)
        with torch.no_grad():
            acc = (model(images).argmax(1) == digits).float().mean().item()
        if path.stem == "best":
            assert acc == pytest.approx(result["metrics"]["test/acc"], abs=1e-4)


def test_the_metrics_are_those_of_the_whole_sets(fit_here: Fit):
    result = fit_here("data.val_size=4999")
    data = MNIST(val_size=4999, train_size=512)
    data.setup("fit")
    model = load_model(result["directory"] / "checkpoints" / "last.ckpt")
    with torch.no_grad():
        logits = model(data.val_set[0])
    assert result["metrics"]["val/acc"] == pytest.approx(
        (logits.argmax(1) == data.val_set[1]).float().mean().item(), abs=1e-6
    )
    assert result["metrics"]["val/loss"] == pytest.approx(F.cross_entropy(logits, data.val_set[1]).item(), abs=1e-5)
