"""Every choice of every group trains, alone and where it matters on two processes, and does what it says."""

import copy
import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from src.callbacks.averaging import EMA
from src.config.command_line import parse
from src.config.compose import preflight
from src.data.augment import Augmentation
from src.data.mnist import KMNIST, MNIST, QMNIST, FashionMNIST
from src.data.points import Points
from src.errors import ConfigError
from src.models.mlp import MLP
from src.optim.optimizers import Muon, orthogonalised
from src.paths import CONF
from src.tasks.classification import Classifier
from src.tasks.losses import binary_cross_entropy, make_loss, outputs_for, predicted, squared_error
from src.training.check import check_targets
from src.training.weights import load_model
from tests.conftest import Command
from tests.idx import small_images
from tests.losses import Losses
from tests.test_training import SMOOTH

Fit = Callable[..., dict[str, Any]]
# Ten steps of a small network.
TEN = ["data.train_size=320", "data.batch_size=32", "data.val_size=100", "trainer.max_epochs=1", "model.hidden=[8]"]


def choices(group: str) -> list[str]:
    return [f"{group}={path.stem}" for path in sorted((CONF / group).glob("*.yaml"))]


def weights(directory: Path) -> dict[str, torch.Tensor]:
    return torch.load(directory / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.parametrize(
    "choice",
    [
        *choices("optimizer"),
        *choices("schedule"),
        *choices("callbacks"),
        *choices("logger"),
        *choices("debug"),
        "model=linear",
        *(f"model.activation={name}" for name in ("relu", "sigmoid", "tanh", "gelu", "silu")),
        "model.norm=batch",
        "model.norm=layer",
        "model.dropout=0.5",
        "task.loss=squared_error",
        "task.label_smoothing=0.1",
        "data.augment.shift=2",
        "data.augment.elastic=2",
        "data.augment.erasing=0.5",
        "trainer=cpu",
        "trainer.precision=bf16-mixed",
        "trainer.precision=64-true",
    ],
)
def test_every_choice_takes_ten_steps(fit_here: Fit, choice: str):
    words = [word for word in TEN if not (choice == "model=linear" and word.startswith("model."))]
    result = fit_here(*words, choice, "trainer.max_epochs=1", "data.train_size=320", small=False)
    assert set(result["metrics"]) == {
        f"{stage}/{name}" for stage in ("train", "val", "test") for name in ("loss", "acc")
    }
    if "checkpoints" in {path.name for path in result["directory"].iterdir()}:
        state = torch.load(result["directory"] / "checkpoints" / "last.ckpt", weights_only=True)
        assert state["global_step"] == 10


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["optimizer=sgd,momentum,nesterov,adam,adamw,rmsprop,adagrad,muon", "trainer.precision=64-true"],
        ["schedule=constant,step,exponential,cosine,one_cycle,plateau", "trainer.precision=64-true"],
        ["trainer.precision=32-true,bf16-mixed,64-true", "callbacks=default,ema", SMOOTH],
    ],
)
def test_optimizers_schedules_and_precisions_on_two_processes(command: Command, words: list[str]):
    done = command("train", "-m", *TEN, *words, "trainer.devices=1,2")
    assert done.status == 0, done.stdout + done.stderr
    by_setting: dict[str, dict[int, float]] = {}
    for run in done.runs:
        devices = run["environment"]["devices"]
        setting = " ".join(word for word in run["overrides"] if "devices" not in word)
        by_setting.setdefault(setting, {})[devices] = run["metrics"]["train/loss"]
    for setting, losses in by_setting.items():
        # A bf16 sum is good to three digits only.
        tolerance = 1e-2 if "bf16" in setting else 1e-5 if "32-true" in setting else 1e-9
        assert losses[1] == pytest.approx(losses[2], abs=tolerance), setting


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["schedule=plateau", "data.val_size=0", "schedule.monitor=val/loss"], "schedule.monitor=val/loss"),
        (["callbacks=early_stopping", "data.val_size=0"], "callbacks.early_stopping.monitor=null"),
        (["task.loss=squared_error", "task.label_smoothing=0.1"], "label_smoothing"),
        (["task.loss=binary_cross_entropy"], "data set has 10"),
        (["data=points", "data.val_size=4"], "data.val_size=4"),
        (["callbacks=ema", "callbacks.ema.decay=1.0"], "decay=1.0"),
        (["schedule=one_cycle", "schedule.pct_start=1.5"], "pct_start=1.5"),
        (["optimizer=muon", "model=linear"], "optimizer: Muon optimizes hidden layers"),
        (["data.augment.shift=-1"], "data.augment.shift=-1"),
        (["+data.augment.shfit=1"], "'shift'"),
    ],
)
def test_wrong_combinations_are_refused_in_a_sentence(words: list[str], said: str):
    def refuse() -> None:
        for config in preflight(parse(words)):
            check_targets(config)

    with pytest.raises(ConfigError) as refused:
        refuse()
    assert said in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_batch_norm_on_two_cpu_processes_is_refused(train: Command):
    done = train("model.norm=batch", "trainer.devices=2", "trainer=cpu")
    assert done.status == 2
    assert "model.norm=batch" in done.stderr
    assert not done.outputs.exists()


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (6, 6)])
def test_singular_values_alone_go_through_the_iteration(shape: tuple[int, int]):
    matrix = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    left, values, right = torch.linalg.svd(matrix / matrix.norm(), full_matrices=False)
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    torch.testing.assert_close(orthogonalised(matrix), left * values @ right)
    torch.testing.assert_close(orthogonalised(matrix.float()), (left * values @ right).float(), rtol=1e-3, atol=1e-4)


def test_muon_orthogonalises_hidden_matrices_and_goes_on_from_its_state():
    torch.manual_seed(0)

    def network() -> tuple[torch.nn.Sequential, Muon]:
        net = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3))
        return net, Muon(net.parameters(), lr=0.1, momentum=0.0, weight_decay=0.0, adamw_lr=0.01)

    def step(net: torch.nn.Sequential, optimizer: Muon, x: torch.Tensor) -> None:
        optimizer.zero_grad()
        net(x).square().sum().backward()
        optimizer.step()

    net, optimizer = network()
    before = net[0].weight.detach().clone(), net[2].weight.detach().clone()
    x = torch.randn(20, 6)
    step(net, optimizer, x)
    moved = (before[0] - net[0].weight.detach()) / 0.1
    assert torch.linalg.svdvals(moved).min() > 0.5  # near one each, as torch's five iterations leave them
    assert (before[1] - net[2].weight.detach()).abs().max() == pytest.approx(0.01, rel=1e-3)  # Adam's first step

    again, resumed = network()
    again.load_state_dict(net.state_dict())
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for _ in range(3):
        step(net, optimizer, x)
        step(again, resumed, x)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))


# Losses


def test_squared_error_is_half_the_summed_square_of_sigmoids_against_one_hot():
    logits, labels = np.array([[0.3, -1.0, 2.0], [1.0, 0.0, -0.5]]), np.array([2, 0])
    expected = 0.5 * ((1 / (1 + np.exp(-logits)) - np.eye(3)[labels]) ** 2).sum()
    assert squared_error(torch.tensor(logits), torch.tensor(labels)).item() == pytest.approx(expected, abs=1e-12)


def test_binary_cross_entropy_reads_a_single_logit():
    logits, labels = torch.tensor([[0.4], [-2.0]], dtype=torch.float64), torch.tensor([1, 1])
    p = 1 / (1 + np.exp(-logits[:, 0].numpy()))
    assert binary_cross_entropy(logits, labels).item() == pytest.approx(-np.log(p).sum(), abs=1e-12)
    assert predicted(logits).tolist() == [1, 0]
    assert outputs_for("binary_cross_entropy", 2) == 1
    assert outputs_for("cross_entropy", 10) == 10


def test_label_smoothing_spreads_the_target():
    logits, labels = torch.randn(5, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0])
    target = F.one_hot(labels, 4).double() * 0.8 + 0.2 / 4
    expected = -(target * logits.log_softmax(1)).sum()
    assert make_loss("cross_entropy", 0.2)(logits, labels).item() == pytest.approx(expected.item(), abs=1e-9)


def test_one_step_of_the_articles_second_example_follows_the_chain_rule():
    """The gradients of x -> sigmoid -> sigmoid -> binary cross entropy, and one step of 0.1 down them, by hand."""
    data = Points(val_size=0)
    data.setup("fit")
    x, y = (tensor.numpy().astype(np.float64) for tensor in data.train_set)
    torch.manual_seed(0)
    net = MLP(input_shape=[2], outputs=1, hidden=[1], activation="sigmoid")
    model = Classifier(net=net, classes=2, loss="binary_cross_entropy").double()
    first, second = net.layers[0], net.layers[2]
    w1, b1 = first.weight.detach().numpy().copy(), first.bias.detach().numpy().copy()
    w2, b2 = second.weight.detach().numpy().copy(), second.bias.detach().numpy().copy()

    h = 1 / (1 + np.exp(-(x @ w1.T + b1)))  # (4, 1)
    p = 1 / (1 + np.exp(-(h @ w2.T + b2)))  # (4, 1)
    d_out = (p - y[:, None]) / len(y)  # cross entropy behind a sigmoid: the error itself
    d_hidden = d_out @ w2 * h * (1 - h)
    expected = {"w2": d_out.T @ h, "b2": d_out.sum(0), "w1": d_hidden.T @ x, "b1": d_hidden.sum(0)}

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    (model.loss(model(data.train_set[0].double()), data.train_set[1]) / len(y)).backward()
    found = {"w2": second.weight.grad, "b2": second.bias.grad, "w1": first.weight.grad, "b1": first.bias.grad}
    for name, gradient in expected.items():
        assert found[name].numpy() == pytest.approx(gradient, abs=1e-12)
    optimizer.step()
    assert first.weight.detach().numpy() == pytest.approx(w1 - 0.1 * expected["w1"], abs=1e-12)
    assert second.bias.detach().numpy() == pytest.approx(b2 - 0.1 * expected["b2"], abs=1e-12)


# Data


@pytest.mark.parametrize("kind", [FashionMNIST, KMNIST, QMNIST])
def test_the_other_data_sets_are_read_from_their_files(tmp_path: Path, kind: type[MNIST]):
    data = kind(dir=str(small_images(tmp_path, kind.__name__)), val_size=500, train_size=1000)
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    assert data.train_set[0].shape == (1000, 28, 28)
    assert data.train_set[0].dtype == torch.uint8
    assert data.train_set[1].dtype == torch.int64
    assert data.test_set[1].shape == (200,)
    label = int(data.test_set[1][0])
    assert (data.test_set[0][0][2 * label : 2 * label + 3] == 250).all()


@pytest.mark.parametrize(
    ("choice", "name"), [("fashion_mnist", "FashionMNIST"), ("kmnist", "KMNIST"), ("qmnist", "QMNIST")]
)
def test_the_other_data_sets_train(fit_here: Fit, tmp_path: Path, choice: str, name: str):
    root = small_images(tmp_path / "data", name)
    result = fit_here(f"data={choice}", f"data.dir={root}", "data.train_size=2000", "trainer.max_epochs=3")
    assert result["metrics"]["test/acc"] > 0.8


def test_what_cannot_be_fetched_is_named_with_where_to_put_it(train: Command, tmp_path: Path):
    nobody = "http://127.0.0.1:9"  # nothing listens there
    done = train("data=kmnist", f"data.dir={tmp_path}", "logger=none", http_proxy=nobody, https_proxy=nobody)
    assert done.status == 1
    for part in ("KMNIST could not be fetched", "train-images-idx3-ubyte.gz", str(tmp_path / "KMNIST" / "raw")):
        assert part in done.stderr
    assert not list((tmp_path / "KMNIST").glob(".fetching*"))


# Augmentation


def digit() -> torch.Tensor:
    data = MNIST(val_size=0, train_size=4)
    data.setup("fit")
    return data.train_set[0]


def test_no_augmentation_is_no_change():
    images = digit()
    drawn = Augmentation().draw(4, images.device)
    assert torch.equal(Augmentation().apply(images, drawn), images.float())
    still = Augmentation(shift=1e-9)  # through the resampling
    assert torch.allclose(still.apply(images, drawn), images.float(), atol=1e-2)


def test_a_shift_moves_by_whole_pixels():
    images = digit()
    random = torch.full((4, 60), 0.5)
    random[:, 3], random[:, 4] = 1.0, 0.0  # the furthest across, the furthest the other way down
    moved = Augmentation(shift=2.0).apply(images, random)
    assert torch.allclose(moved[:, 2:, :-2], images.float()[:, :-2, 2:], atol=1e-2)


@pytest.mark.parametrize("name", ["shift", "rotation", "scale", "shear", "elastic", "erasing"])
def test_each_amount_changes_each_image_in_its_own_way_and_keeps_the_grey_values(name: str):
    images = digit()[:1].repeat(8, 1, 1)
    torch.manual_seed(0)
    augmentation = Augmentation(**{name: 0.9 if name == "erasing" else 0.3 if name == "scale" else 4.0})
    changed = augmentation.apply(images, augmentation.draw(8, images.device))
    assert changed.shape == images.shape
    assert changed.dtype == torch.float32
    assert len({tuple(image.flatten().tolist()) for image in changed}) >= 4
    assert 0 <= changed.min() <= changed.max() <= 255.01


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
