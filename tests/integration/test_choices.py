"""Every choice of every group trains, alone and where it matters on two processes, and does what it says."""

import csv
import json
from itertools import zip_longest
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch.nn import functional as F

from src.callbacks.averaging import EMA
from src.data.mnist import MNIST
from src.paths import CONF
from src.training.weights import load_model
from tests.conftest import SMALL, Command, Fit
from tests.helpers.choices import TEN
from tests.helpers.idx import small_images
from tests.helpers.losses import Losses


def choices(group: str) -> list[str]:
    """The choices of a group that need no further setting, and that a classification does not need."""
    names = [path.stem for path in sorted((CONF / group).glob("*.yaml")) if "???" not in path.read_text()]
    return [f"{group}={name}" for name in names if (group, name) != ("optimizer", "none")]


def weights(directory: Path) -> dict[str, torch.Tensor]:
    return torch.load(directory / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


# Choices of different columns do not depend on each other: a training has one of each.
COLUMNS = [
    [*choices("callbacks"), *choices("debug")],
    choices("optimizer"),
    [*choices("logger"), "trainer=cpu", "trainer.precision=bf16-mixed", "trainer.precision=64-true"],
    choices("schedule"),
    [*(f"model.activation={name}" for name in ("relu", "sigmoid", "tanh", "gelu", "silu")), "model=linear"],
    [*(f"model.norm={name}" for name in ("batch", "layer")), "model.dropout=0.5"],
    ["task.loss=squared_error", "task.label_smoothing=0.1"],
    ["data.augment.shift=2", "data.augment.elastic=2", "data.augment.erasing=0.5"],
]


@pytest.mark.parametrize("row", list(zip_longest(*COLUMNS)), ids=lambda row: ",".join(filter(None, row)))
def test_every_choice_takes_ten_steps(fit_here: Fit, row: tuple[str | None, ...]):
    words = [word for word in TEN if not ("model=linear" in row and word.startswith("model."))]
    chosen = [choice for choice in row if choice]
    result = fit_here(*words, *chosen, "trainer.max_epochs=1", "data.train_size=320", small=False)
    costs = {"latency_ms", "latency_ms_256", "flops", "parameters", "bytes"} if "callbacks=latency" in chosen else set()
    assert set(result["metrics"]) == costs | {
        f"{stage}/{name}" for stage in ("train", "val", "test") for name in ("loss", "acc")
    }
    if "checkpoints" in {path.name for path in result["directory"].iterdir()}:
        state = torch.load(result["directory"] / "checkpoints" / "last.ckpt", weights_only=True)
        assert state["global_step"] == 10


def test_batch_norm_on_two_cpu_processes_is_refused(train_here: Command):
    done = train_here("model.norm=batch", "trainer.devices=2", "trainer=cpu")
    assert done.status == 2
    assert "model.norm=batch" in done.stderr
    assert not done.outputs.exists()


# Data


@pytest.mark.parametrize(
    ("choice", "name"), [("fashion_mnist", "FashionMNIST"), ("kmnist", "KMNIST"), ("qmnist", "QMNIST")]
)
def test_the_other_data_sets_train(fit_here: Fit, tmp_path: Path, choice: str, name: str):
    root = small_images(tmp_path / "data", name)
    result = fit_here(f"data={choice}", f"data.dir={root}", "data.train_size=2000", "trainer.max_epochs=3")
    assert result["metrics"]["test/acc"] > 0.8


def test_what_cannot_be_fetched_is_named_with_where_to_put_it(command: Command, tmp_path: Path):
    nobody = "http://127.0.0.1:9"  # nothing listens there
    # In a process of its own: urllib keeps the proxies of its first request.
    done = command(
        "train", *SMALL, "data=kmnist", f"data.dir={tmp_path}", "logger=none", http_proxy=nobody, https_proxy=nobody
    )
    assert done.status == 1
    for part in ("KMNIST could not be fetched", "train-images-idx3-ubyte.gz", str(tmp_path / "KMNIST" / "raw")):
        assert part in done.stderr
    assert not list((tmp_path / "KMNIST").glob(".fetching*"))


# Augmentation


def test_augmentation_depends_on_the_seed_and_the_step_not_on_the_chunks(fit_here: Fit):
    words = ["data.augment.rotation=10", "data.augment.elastic=1", "data.batch_size=32", "model.dropout=0.2"]
    one, many, other = (
        weights(fit_here(*words, f"data.steps_per_execution={n}", f"seed={seed}")["directory"])
        for n, seed in ((1, 0), (5, 0), (5, 1))
    )
    for name, value in one.items():
        assert torch.allclose(value, many[name], atol=1e-6)
    assert not torch.allclose(many["net.layers.0.weight"], other["net.layers.0.weight"], atol=1e-3)


def test_validation_and_test_are_never_augmented(fit_here: Fit):
    plain = fit_here("optimizer.lr=1e-12", "trainer.max_epochs=1")
    augmented = fit_here("optimizer.lr=1e-12", "trainer.max_epochs=1", "data.augment.rotation=90")
    for name in ("val/loss", "test/loss"):
        assert plain["metrics"][name] == pytest.approx(augmented["metrics"][name], abs=1e-6)
    assert plain["metrics"]["train/loss"] != pytest.approx(augmented["metrics"]["train/loss"], abs=1e-6)


# Callbacks and loggers


def test_ema_validates_saves_and_tests_the_average_taken_after_every_step(fit_here: Fit):
    class Follow(pl.Callback):
        """Averages by itself, from the weights after each step."""

        def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            self.average: list[torch.Tensor] | None = None

            def follow(*_: Any) -> None:
                now = [parameter.detach().clone() for parameter in pl_module.parameters()]
                if self.average is None:
                    self.average = now
                else:
                    self.average = [0.9 * old + 0.1 * new for old, new in zip(self.average, now, strict=True)]

            trainer.optimizers[0].register_step_post_hook(follow)

    follow = Follow()
    result = fit_here("callbacks=ema", "callbacks.ema.decay=0.9", extra=[follow])
    saved = weights(result["directory"])
    assert follow.average is not None
    for value, expected in zip(saved.values(), follow.average, strict=True):
        assert torch.allclose(value, expected, atol=1e-6)
    model = load_model(result["directory"] / "checkpoints" / "last.ckpt")
    data = MNIST(val_size=500, train_size=512)
    data.setup("fit")
    data.setup("test")
    for stage, (images, labels) in (("val", data.val_set), ("test", data.test_set)):
        with torch.no_grad():
            loss = F.cross_entropy(model(images), labels).item()
        assert result["metrics"][f"{stage}/loss"] == pytest.approx(loss, abs=1e-5)
    assert isinstance(EMA(), pl.Callback)


def test_early_stopping_ends_a_training_that_does_not_improve(fit_here: Fit):
    words = ["callbacks=early_stopping", "callbacks.early_stopping.patience=2", "optimizer=sgd", "optimizer.lr=1e-12"]
    recorded = Losses()
    fit_here(*words, "trainer.max_epochs=50", extra=[recorded])
    assert len(recorded.values) == 3  # one chunk an epoch: the first, and two without improvement


def test_plateau_lowers_the_rate_when_nothing_improves(fit_here: Fit):
    words = [
        "schedule=plateau",
        "schedule.patience=1",
        "schedule.factor=0.1",
        "optimizer=sgd",
        "optimizer.lr=1e-6",
    ]
    result = fit_here(*words, "logger=csv", "trainer.max_epochs=5", "schedule.min_ratio=0.0")
    with (result["directory"] / "metrics.csv").open() as file:
        rates = [float(row["lr"]) for row in csv.DictReader(file) if row["lr"]]
    assert rates[0] == pytest.approx(1e-6)
    assert rates[-1] == pytest.approx(1e-7)


def test_the_csv_logger_writes_the_curves_of_tensorboard(fit_here: Fit):
    result = fit_here("logger=both")
    with (result["directory"] / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    last = {name: float(row[name]) for row in rows for name in result["metrics"] if row[name]}
    assert last == pytest.approx(result["metrics"], abs=1e-6)
    assert "epoch" not in rows[0]
    assert [int(row["step"]) for row in rows if row["val/acc"]] == [8, 16]
    assert list(result["directory"].glob("events.out.tfevents.*"))


def test_profile_leaves_a_trace_and_a_table(fit_here: Fit):
    result = fit_here("debug=profile", "data.train_size=3000", "data.steps_per_execution=4")
    trace = json.loads((result["directory"] / "profile.json").read_text())
    assert len(trace["traceEvents"]) > 100
    assert "aten::" in (result["directory"] / "profile.txt").read_text()


def test_full_logs_the_norm_of_the_gradients(fit_here: Fit):
    result = fit_here("callbacks=full", "logger=csv", "task.gradient_clip_norm=0.01")
    with (result["directory"] / "metrics.csv").open() as file:
        norms = [float(row["gradient_norm"]) for row in csv.DictReader(file) if row["gradient_norm"]]
    assert norms
    assert max(norms) == pytest.approx(0.01, rel=1e-3)
