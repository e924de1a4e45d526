"""What the tests of test_export.py share."""

from pathlib import Path
from typing import Any

import pytest
import torch

from src.analysis.export.product import in_float
from src.analysis.export.programs import Predictor
from src.config.command_line import parse
from src.config.compose import preflight
from src.data.mnist import MNIST
from src.data.normalize import Normalize
from src.data.points import Points
from src.models.mlp import MLP
from src.records.environment import environment
from src.records.record import Record
from src.tasks.classification import Classifier
from src.tasks.pipeline import Pipeline
from src.training.fit import fit
from tests.conftest import SMALL

# Forgetting and normalising while it trains, and averaging: all that must be settled in what is exported.
AWKWARD = [*SMALL, "model.norm=batch", "model.dropout=0.3", "model.activation=gelu", "callbacks=[default,ema]"]


def _run(directory: Path, *words: str) -> Record:
    [config] = preflight(parse(list(words)))
    directory.mkdir()
    record = Record.start(
        directory,
        sweep=None,
        config=config,
        overrides=list(words),
        command="",
        git=None,
        environment=environment(),
    )
    found = fit(config, str(directory))
    record.update(status="done", duration_s=1.0, metrics=found["metrics"], best=found["best"])
    return record


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """A run on MNIST."""
    return _run(tmp_path_factory.mktemp("runs") / "digits", *AWKWARD, "name=digits")


@pytest.fixture(scope="module")
def mnist() -> MNIST:
    data = MNIST(val_size=500)
    data.prepare_data()
    data.setup("test")
    return data


def _exports(record: Record) -> list[dict[str, Any]]:
    return Record.load(record.directory).values.get("exports", [])


def _exports_well(activation: str, norm: str | None, form: str) -> None:
    data = Points(val_size=0)
    data.setup("test")
    net = MLP(input_shape=[2], outputs=2, hidden=[8, 6], activation=activation, norm=norm, dropout=0.5)
    net(torch.randn(64, 2) * 3 + 1)  # gives batch norm averages of its own
    predictor = Predictor(Pipeline(Normalize(0.5, 2.0), Classifier(net=net, classes=2)))
    found = in_float(form, predictor, data, {}).checks
    assert found["differ"] == 0
    assert found["largest"] < 1e-5
