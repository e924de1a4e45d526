"""Trainings of every kind of task and loss on made-up samples, in Lightning's own loop and on the fast path.

python -m tests.helpers.tasks <ranks> <folder> [<case> ...]    some or all of them in several processes: outcomes.json
"""

import copy
import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from src.config.command_line import parse
from src.config.compose import preflight
from src.data.module import TensorData
from src.fast.classification import CHUNKED
from src.launching.hardware import choose
from src.launching.launchers import LocalProcesses
from src.models.mlp import MLP
from src.paths import ROOT
from src.tasks.base import SupervisedTask
from src.tasks.classification import Classifier
from src.tasks.regression import Regressor
from src.training.fit import make_trainer


class Made(TensorData):
    """87 random samples of 5 numbers, 22 of them for validation; of the 65 others the last is a batch of its own."""

    input_shape = (5,)
    test_size = 33

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"batch_size": 16, "steps_per_execution": 3, "val_size": 22, **settings})

    def make_targets(self, inputs: Tensor) -> Tensor:
        raise NotImplementedError

    def load(self, train: bool) -> tuple[Tensor, Tensor]:
        inputs = torch.randn(87 if train else self.test_size, 5, generator=torch.Generator().manual_seed(int(train)))
        return inputs, self.make_targets(inputs)


class ThreeClasses(Made):
    classes = 3

    def make_targets(self, inputs: Tensor) -> Tensor:
        return torch.bucketize(inputs[:, 0].contiguous(), torch.tensor([-0.8, 0.9]))


class TwoClasses(Made):
    classes = 2

    def make_targets(self, inputs: Tensor) -> Tensor:
        return (inputs[:, 0] > 0.7).long()


class SeveralClasses(Made):
    """A sample may be of several classes, or none."""

    classes = 4
    multilabel = True

    def make_targets(self, inputs: Tensor) -> Tensor:
        return (inputs[:, :4] > torch.tensor([0.0, 0.5, -0.7, 1.0])).float()


class Numbers(Made):
    classes = None
    targets = 2

    def make_targets(self, inputs: Tensor) -> Tensor:
        return torch.stack([1000 + 30 * inputs[:, 0], inputs[:, 1] * inputs[:, 2]], 1)


class OneTestSample(ThreeClasses):
    test_size = 1


class OneTestNumber(Numbers):
    test_size = 1


class Tempered(nn.Module):
    """A loss with a parameter that is trained, too."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits * self.scale, labels)


def each_sample(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels, reduction="none")


SOME = ["acc", "f1", "precision", "recall", "auroc"]
# The class of the data, and the settings of the task.
CASES: dict[str, tuple[type[Made], dict[str, Any]]] = {
    "three classes": (ThreeClasses, {"metrics": SOME}),
    "weights": (ThreeClasses, {"class_weights": [1.0, 5.0, 0.25]}),
    "balanced": (ThreeClasses, {"class_weights": "balanced", "gradient_clip_norm": 0.5}),
    "smoothing": (ThreeClasses, {"label_smoothing": 0.1, "class_weights": [1.0, 5.0, 0.25]}),
    "squared error": (ThreeClasses, {"loss": "squared_error", "class_weights": "balanced"}),
    "focal": (ThreeClasses, {"loss": "focal", "gamma": 1.5}),
    "focal with weights": (ThreeClasses, {"loss": "focal", "class_weights": [1.0, 5.0, 0.25]}),
    "module": (ThreeClasses, {"loss": nn.MultiMarginLoss()}),
    "module that sums": (ThreeClasses, {"loss": nn.MultiMarginLoss(reduction="sum")}),
    "module with weights": (ThreeClasses, {"loss": nn.CrossEntropyLoss(torch.tensor([1.0, 5.0, 0.25]))}),
    "module with a parameter": (ThreeClasses, {"loss": Tempered()}),
    "function": (ThreeClasses, {"loss": each_sample}),
    "one test sample": (OneTestSample, {"metrics": [*SOME[:3], "auroc"]}),
    "two classes": (TwoClasses, {"metrics": SOME}),
    "one output": (TwoClasses, {"loss": "binary_cross_entropy", "class_weights": "balanced", "metrics": SOME}),
    "several classes": (
        SeveralClasses,
        {"loss": "binary_cross_entropy", "class_weights": "balanced", "metrics": [*SOME, "exact_match"]},
    ),
    "several classes, focal": (SeveralClasses, {"loss": "focal", "class_weights": [1.0, 2.0, 3.0, 4.0]}),
    "several classes, module": (SeveralClasses, {"loss": nn.BCEWithLogitsLoss(), "metrics": ["auroc"]}),
    "numbers": (Numbers, {}),
    "numbers, standardized": (Numbers, {"standardize_targets": True}),
    "numbers, one test sample": (OneTestNumber, {}),
    "numbers, huber": (Numbers, {"loss": "huber", "delta": 0.5, "standardize_targets": True}),
    "numbers, mae": (Numbers, {"loss": "mae", "metrics": ["r2"]}),
    "numbers, module": (Numbers, {"loss": nn.SmoothL1Loss(reduction="none"), "standardize_targets": True}),
}


def make_task(data: Made, settings: dict[str, Any], fast: bool = False) -> SupervisedTask:
    kind: Any = Regressor if isinstance(data, Numbers) else Classifier
    torch.manual_seed(0)
    return (partial(CHUNKED[kind], seed=0, varies_threads=False) if fast else kind)(
        net=MLP(input_shape=[5], outputs=kind.outputs(data, settings), hidden=[6], activation="gelu"),
        **{name: getattr(data, name) for name in kind.from_data if hasattr(data, name)},
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.01),
        **settings,
    )


def train(name: str, fast: bool = False, devices: int = 1, epochs: int = 3) -> dict[str, Any]:
    """Train and test; returns the parameters, one after another, and all metrics."""
    kind, settings = CASES[name]
    data = kind()
    data.in_chunks = fast
    task = make_task(data, copy.deepcopy(settings), fast)  # a loss may have parameters
    words = ["trainer=cpu", f"trainer.devices={devices}", f"trainer.max_epochs={epochs}", "trainer.precision=64-true"]
    [config] = preflight(parse(words))
    trainer = make_trainer(config, callbacks=[], logger=False)
    trainer.fit(task, datamodule=data)
    metrics = {key: float(value) for key, value in trainer.callback_metrics.items()}
    [test] = trainer.test(task, datamodule=data, verbose=False)
    parameters = torch.cat([parameter.detach().flatten() for parameter in task.parameters()])
    return {"parameters": parameters.tolist(), "metrics": metrics | test}


def _train_all(directory: str, devices: int, names: list[str]) -> None:
    outcomes = {name: [train(name, fast, devices) for fast in (False, True)] for name in names}
    if torch.distributed.get_rank() == 0:
        Path(directory, "outcomes.json").write_text(json.dumps(outcomes))


def train_in_processes(devices: int, directory: Path, *names: str) -> dict[str, list[dict[str, Any]]]:
    """What ``train`` returns without and with the fast path, by the names of cases."""
    call = [sys.executable, "-m", "tests.helpers.tasks", str(devices), str(directory), *names]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, timeout=280)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads((directory / "outcomes.json").read_text())


if __name__ == "__main__":
    devices, directory, names = int(sys.argv[1]), sys.argv[2], sys.argv[3:] or list(CASES)
    [config] = preflight(parse(["trainer=cpu", f"trainer.devices={devices}"]))
    LocalProcesses(choose(config["trainer"])).launch(partial(_train_all, directory, devices, names), directory)
