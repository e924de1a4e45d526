"""What users bring to such a project works by its command, and nothing of it is silently ignored."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.io import encode_png

from src import runs
from src.api import train
from tests.conftest import SMALL, Command, Finished, copy_of_the_project

ONE_EPOCH = "trainer.max_epochs=1"
MNIST = ["data.train_size=512", "data.val_size=500", ONE_EPOCH]
DEMOS = "lightning.pytorch.demos.boring_classes"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of 200 rows: x, colour, price, and whether it is cheap."""
    random = np.random.default_rng(0)
    path = tmp_path / "table.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["x", "colour", "price", "kind"])
        for x in random.normal(size=200):
            price = 3 * x + random.normal() / 10
            rows.writerow([x, "red" if x > 0 else "blue", price, "cheap" if price < 0 else "dear"])
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two classes of colour images, 12 of each."""
    for number, name in enumerate(("dark", "light")):
        folder = tmp_path / "pictures" / name
        folder.mkdir(parents=True)
        for image in range(12):
            pixels = torch.randint(128 * number, 128 * number + 128, (3, 20, 20), dtype=torch.uint8)
            (folder / f"{image}.png").write_bytes(encode_png(pixels).numpy().tobytes())
    return tmp_path / "pictures"


@pytest.mark.parametrize(
    ("words", "metric"),
    [
        pytest.param(["experiment=example_cnn", *MNIST], "test/acc", id="a network of one's own"),
        pytest.param(["model=custom", "model._target_=torchvision.models.shufflenet_v2_x0_5", "+model.num_classes=2",
                      "data=image_folder", "data.dir={pictures}", "data.size=32", "data.batch_size=8", "data.num_workers=0",
                      "data.test_size=6", "data.val_size=6", ONE_EPOCH], "test/acc", id="three-channel images"),
        pytest.param(["experiment=example_text", "data.size=300", ONE_EPOCH], "val/acc", id="padded tokens"),
        pytest.param(["data=csv", "data.path={table}", "data.target=kind", "data.drop=[price]", "data.test_size=0.2",
                      "data.val_size=20", ONE_EPOCH], "test/acc", id="CSV classification"),
        pytest.param(["data=csv", "data.path={table}", "data.target=price", "data.drop=[kind]", "data.test_size=0.2",
                      "data.val_size=20", "task=regression", ONE_EPOCH], "test/rmse", id="regression"),
        pytest.param(["experiment=example_autoencoder", "data.train_size=320", ONE_EPOCH], "test_loss", id="a LightningModule"),
        pytest.param(["experiment=example_gan", "data.train_size=320", ONE_EPOCH], "g_loss", id="a GAN"),
        pytest.param(["task=custom", f"task._target_={DEMOS}.DemoModel", "data=custom", f"data._target_={DEMOS}.BoringDataModule",
                      ONE_EPOCH], None, id="DataLoaders"),
        pytest.param([*MNIST, "task.metrics=[acc,f1]", "monitor=val/f1"], "test/f1", id="another metric to monitor"),
        pytest.param([*MNIST, "task.loss={_target_: torch.nn.MultiMarginLoss}"], "test/acc", id="a loss"),
        pytest.param([*MNIST, "+callbacks.timer._target_=lightning.pytorch.callbacks.Timer",
                      "+logger.mine._target_=lightning.pytorch.loggers.CSVLogger"], "test/acc", id="callbacks and loggers"),
        pytest.param([*MNIST, "+trainer.accumulate_grad_batches=2", "+trainer.gradient_clip_val=1.0"], "test/acc", id="Trainer"),
        pytest.param([*MNIST, "schedule=custom", "schedule._target_=torch.optim.lr_scheduler.StepLR", "+schedule.step_size=1"],
                     "test/acc", id="a schedule of torch"),
    ],
)  # fmt: skip
def test_it_trains(train_here: Command, table: Path, pictures: Path, words: Sequence[str], metric: str | None):
    done = train_here(
        *(word.replace("{table}", str(table)).replace("{pictures}", str(pictures)) for word in words), small=False
    )
    assert done.status == 0, done.stdout + done.stderr
    [record] = done.runs
    assert record["status"] == "done"
    if metric is not None:
        value = record["metrics"][metric]
        assert value is not None
        assert value == value


def test_runs_are_trained_and_read_from_python(outputs: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OUTPUTS_DIR", str(outputs))
    for rate in (1e-3, 1e-2):
        assert train([*SMALL, f"optimizer.lr={rate}"]).values["status"] == "done"
    frame = runs.to_frame("status=='done'")
    assert list(frame["optimizer.lr"]) == [1e-2, 1e-3]
    assert frame["best/val/acc"].gt(0).all()
    assert "train/loss" in runs.load("latest").curves()


MINE = '''
import lightning.pytorch as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


class Both(pl.LightningModule):
    """A shared trunk with two heads."""

    def __init__(self):
        super().__init__()
        self.trunk, self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 2), nn.Linear(8, 1)

    def training_step(self, batch, batch_idx):
        x, label, number = batch
        hidden = self.trunk(x).relu()
        losses = {"first": F.cross_entropy(self.first(hidden), label), "second": F.mse_loss(self.second(hidden)[:, 0], number)}
        self.log_dict({f"train_{name}": loss for name, loss in losses.items()}, on_epoch=True)
        return sum(losses.values())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters())


class Data(pl.LightningDataModule):
    def __init__(self, size: int = 64):
        super().__init__()
        self.size = size

    def train_dataloader(self):
        x = torch.randn(self.size, 4)
        return DataLoader(TensorDataset(x, (x[:, 0] > 0).long(), x[:, 1]), 16, drop_last=True)


class Louder(pl.Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        pl_module.log("louder", float(batch_idx))


class Doubled(nn.CrossEntropyLoss):
    def forward(self, logits, labels):
        return 2 * super().forward(logits, labels)
'''


def test_code_of_ones_own_is_used_or_refused_and_never_ignored(
    command: Command, train_several: Callable[..., list[Finished]], tmp_path: Path
):
    project = copy_of_the_project(tmp_path / "project")
    (project / "mine.py").write_text(MINE)
    own = ["task=custom", "task._target_=mine.Both", "data=custom", "data._target_=mine.Data", ONE_EPOCH]

    done = command("train", *own, cwd=project)
    assert done.status == 2
    assert 'trusted = ["mine"]' in done.stderr
    (project / "pyproject.toml").write_text('[tool.tracking]\ntrusted = ["mine"]\n')

    doubled = ["optimizer=sgd", "optimizer.lr=1e-9"]
    louder, small, network, *losses = train_several(
        [*own, "+callbacks.louder._target_=mine.Louder"],
        [*own, "+data.size=8"],
        [*MNIST, "model=custom", "model._target_=mine.Both"],
        [*MNIST, *doubled, "task.loss={_target_: torch.nn.CrossEntropyLoss}"],
        [*MNIST, *doubled, "task.loss={_target_: mine.Doubled}"],
        cwd=project,
    )
    assert louder.status == 0, louder.stderr
    assert {"train_first", "train_second", "louder"} <= louder.runs[0]["metrics"].keys()
    assert small.status == 1
    assert "error: Data: there is no batch to train on" in small.stderr
    assert network.status == 2
    assert "name it as task._target_" in network.stderr
    assert [done.status for done in losses] == [0, 0], [done.stderr for done in losses]
    plain, twice = (run["metrics"]["val/loss"] for run in louder.runs[-2:])
    assert twice == pytest.approx(2 * plain, rel=1e-4)


TEMPLATE = '''
import lightning.pytorch as pl
import torch
from torch.nn import functional as F


class Template(pl.LightningModule):
    """As in projects made from a template: its hyperparameters include the network, which is copied."""

    def __init__(self, net: torch.nn.Module, optimizer, scheduler, compile: bool = False):
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.net = net

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.training_step(batch, batch_idx))

    def configure_optimizers(self):
        return self.hparams.optimizer(params=self.parameters())
'''


def test_a_module_that_copies_its_network_trains_in_forked_processes(command: Command, tmp_path: Path):
    """A copy of more than 32,768 weights starts OpenMP's threads, after which a process can no longer be forked."""
    project = copy_of_the_project(tmp_path / "project")
    (project / "mine.py").write_text(TEMPLATE)
    (project / "pyproject.toml").write_text('[tool.tracking]\ntrusted = ["mine"]\n')
    words = [
        "task=custom",
        "task._target_=mine.Template",
        "model.hidden=[256]",
        "+model.outputs=10",
        "trainer=cpu",
        "monitor=val_loss",
        *MNIST,
    ]
    for more in (["-m", "seed=1,2"], ["trainer.devices=2"]):
        done = command("train", *words, *more, cwd=project, OMP_NUM_THREADS="2")
        assert done.status == 0, done.stderr
    assert [run["status"] for run in done.runs] == ["done"] * 3
