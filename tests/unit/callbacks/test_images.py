"""Images of every shape in TensorBoard and in results.json."""

import base64
import io
import json
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from src.callbacks.figures import Mistakes
from src.callbacks.network import FirstLayer, Graph, Inputs, Projector
from src.callbacks.results import RESULTS, TestResults
from src.models.mlp import MLP
from src.tasks.classification import Classifier
from tests.helpers.shapes import Squares


def convolution(channels: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, 5, 3), nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(20, 4))


@pytest.mark.parametrize("network", ["mlp", "convolution"])
@pytest.mark.parametrize("shape", [(12, 12), (1, 12, 12), (3, 12, 16), (3, 16, 12)])
def test_images_of_every_shape_are_shown(shape: tuple[int, ...], network: str, tmp_path: Path):
    if network == "convolution" and len(shape) == 2:
        pytest.skip("it takes channels")
    torch.manual_seed(0)
    data = Squares(shape=shape)
    net = MLP(input_shape=shape, outputs=4, hidden=[8]) if network == "mlp" else convolution(shape[0])
    task = Classifier(net=net, classes=4, optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1e-4))
    logger = TensorBoardLogger(tmp_path, name="", version="")
    callbacks = [Inputs(), FirstLayer(), Graph(), Mistakes(), TestResults(), Projector(count=40)]
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        callbacks=callbacks,
        logger=logger,
        default_root_dir=tmp_path,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(task, datamodule=data)
    trainer.test(task, datamodule=data, verbose=False)
    logger.experiment.flush()

    events = EventAccumulator(str(tmp_path), size_guidance={"images": 0}).Reload()
    assert {*events.Tags()["images"]} == {"inputs", "first_layer", "mistakes"}
    assert events.Tags()["graph"]
    height, width = shape[-2:]
    first = Image.open(io.BytesIO(events.Images("first_layer")[0].encoded_image_string))
    per_row = 8 if network == "mlp" else 5
    assert first.width == per_row * ((width if network == "mlp" else 3) + 2) + 2

    mistakes = json.loads((tmp_path / RESULTS).read_text())["mistakes"]
    assert len(mistakes) > 5
    for mistake in mistakes:
        image = Image.open(io.BytesIO(base64.b64decode(mistake["image"])))
        raw = data.test_set[0][mistake["index"]].reshape(-1, height, width)
        assert np.array_equal(np.asarray(image).reshape(height, width, -1), raw.permute(1, 2, 0).numpy())

    sprite = Image.open(next(tmp_path.rglob("sprite.png")))
    side = max(height, width)
    assert sprite.size == (7 * side, 7 * side)
