"""Visualization of the network in TensorBoard: inputs, weights, graph, and features of the test set."""

import copy
import logging
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, cast

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.utils import make_grid

from src.bounds import Count, Samples
from src.callbacks.after_test import AfterTest, Outcome, writers
from src.data.images import is_image, with_channels
from src.data.module import TensorData
from src.tasks.classification import Classifier
from src.tasks.pipeline import Pipeline

log = logging.getLogger(__name__)

# Name of the embedding, whose files are in <step>/penultimate in the run's directory.
_EMBEDDING = "penultimate"


class Inputs(pl.Callback):
    """Logs the first training samples as passed to the network, augmented and normalised: image ``inputs``."""

    accepts_chunks: ClassVar[bool] = True

    def __init__(self, *, count: Annotated[Samples, "number of images"] = 32) -> None:
        self.count = count

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Draw the first training samples; black and white are the minimum and maximum of their values."""
        if trainer.global_step:
            return
        inputs = batch[0] if isinstance(batch, Sequence) else None  # the same for a chunk and a single batch
        if not isinstance(inputs, Tensor) or not is_image(inputs.shape[1:]):
            return
        seen = with_channels(inputs[: self.count]).float()
        for writer in writers(trainer):
            writer.add_image("inputs", make_grid(seen, nrow=8, normalize=True), 0)


class FirstLayer(pl.Callback):
    """Logs the weights of each unit of the first layer, if samples are images: image ``first_layer``.

    The first layer must be a linear layer with as many inputs as a sample has values, or a two-dimensional convolution.
    """

    def __init__(
        self,
        *,
        every_n_epochs: Annotated[Count, "epochs between two images"] = 1,
        count: Annotated[Samples, "number of units, from the first"] = 64,
    ) -> None:
        self.every_n_epochs, self.count = every_n_epochs, count

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the weights before the first step."""
        if trainer.global_step == 0:
            self._draw(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the weights every ``every_n_epochs`` epochs, and after the last one."""
        epoch = trainer.current_epoch + 1
        if epoch % self.every_n_epochs == 0 or epoch == trainer.max_epochs:
            self._draw(trainer, pl_module)

    def _draw(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        images = _as_images(pl_module, getattr(trainer.datamodule, "input_shape", ()))  # type: ignore[attr-defined]
        if images is None:
            return
        for writer in writers(trainer):
            grid = make_grid(images[: self.count].float().cpu(), nrow=8, normalize=True, scale_each=True)
            writer.add_image("first_layer", grid, trainer.global_step)


def _as_images(model: nn.Module, shape: Sequence[int]) -> Tensor | None:
    """The weights of the first layer as images, (units, channels, height, width); None if they are not images."""
    first = next((layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)), None)
    if first is None or not is_image(shape):
        return None
    weights, channels = first.weight.detach(), shape[0] if len(shape) == 3 else 1
    if isinstance(first, nn.Linear):
        return weights.reshape(-1, channels, *shape[-2:]) if first.in_features == math.prod(shape) else None
    return weights if weights.shape[1] == channels else None


class Histograms(pl.Callback):
    """Logs histograms of weights and gradients once per epoch: ``weights/<parameter>`` and ``gradients/<parameter>``."""

    accepts_chunks: ClassVar[bool] = True

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Log after the epoch's last step, since validation clears the gradients. Empty tensors are skipped."""
        if not trainer.is_last_batch:
            return
        for writer in writers(trainer):
            for name, parameter in network_of(pl_module).named_parameters():
                if parameter.numel():
                    writer.add_histogram(f"weights/{name}", parameter, trainer.global_step)
                if parameter.grad is not None and parameter.numel():
                    writer.add_histogram(f"gradients/{name}", parameter.grad, trainer.global_step)


class Graph(pl.Callback):
    """Logs the network's graph of operations to the Graphs tab."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Trace a copy of the network, so that the trained one is unchanged."""
        if trainer.global_step:
            return
        if (net := network_of(pl_module)) is pl_module:
            log.warning(
                "callbacks.graph draws the attribute net of the task, and %s has none.", type(pl_module).__name__
            )
            return
        net = copy.deepcopy(net).cpu().float().eval()
        sample = example_input(trainer.datamodule)  # type: ignore[attr-defined]
        if sample is None:
            log.warning("callbacks.graph needs the attribute input_shape of the data module, and it has none.")
            return
        for writer in writers(trainer):
            writer.add_graph(net, sample)


def network_of(task: pl.LightningModule) -> nn.Module:
    """The attribute ``net`` of a task, if it is a network; else the task itself."""
    net = getattr(task, "net", None)
    return net if isinstance(net, nn.Module) else task


def example_input(data: pl.LightningDataModule) -> Tensor | None:
    """An input of the network on the CPU, (1, *shape); None if the data module has no ``input_shape``.

    For data in memory a training sample with the dtype of the network's inputs, otherwise zeros.
    """
    if isinstance(data, TensorData):
        return data.normalize(data.train_set[0][:1].cpu())
    return torch.zeros(1, *data.input_shape) if hasattr(data, "input_shape") else None


class Projector(AfterTest):
    """Logs the inputs of the last layer for the first test samples to the Projector tab: ``penultimate``."""

    def __init__(self, *, count: Annotated[Samples, "number of test samples"] = 1000) -> None:
        self.count = count

    def show(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outcome: Outcome) -> None:
        """Write the features, the classes, and thumbnails if the samples are images."""
        data: TensorData = trainer.datamodule  # type: ignore[attr-defined]
        model = Pipeline(data.normalize, cast(Classifier, pl_module))
        inputs, labels = outcome.inputs[: self.count], outcome.labels[: self.count]
        features = penultimate(model, inputs)
        if features is None:
            log.warning("callbacks.projector shows the inputs of the last linear layer, and the network has none.")
            return
        pictures = _for_sprite(inputs) if outcome.shows_pictures else None
        predicted = [outcome.names[number] for number in outcome.predicted[: self.count].tolist()]
        words = [
            [outcome.names[number], other, "yes" if outcome.names[number] == other else "no"]
            for number, other in zip(labels.tolist(), predicted, strict=True)
        ]
        for writer in writers(trainer):
            for earlier in Path(writer.log_dir).glob(f"*/{_EMBEDDING}"):  # of an earlier test of a resumed run
                shutil.rmtree(earlier)
            Path(writer.log_dir, "projector_config.pbtxt").unlink(missing_ok=True)
            writer.add_embedding(
                features,
                metadata=words,
                metadata_header=["class", "predicted", "right"],
                label_img=pictures,
                global_step=trainer.global_step,
                tag=_EMBEDDING,
            )


def _for_sprite(inputs: Tensor) -> Tensor:
    """Convert raw images for the Projector's sprite: (n, channels, side, side) from 0 to 1, grayscale images dark on light.

    They are padded to squares, since TensorBoard would crop others to a square that may be too low.
    """
    images = with_channels(inputs).float() / 255
    if images.shape[1] == 1:
        images = 1 - images
    height, width = images.shape[-2:]
    side = max(height, width)
    return F.pad(images, (0, side - width, 0, side - height), value=1.0)


def penultimate(model: Pipeline, inputs: Tensor) -> Tensor | None:
    """Inputs of the last linear layer for raw samples: (n, width), on the CPU. None if there is no linear layer."""
    linear = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    if not linear:
        return None
    seen: list[Tensor] = []

    def keep(_: nn.Module, given: tuple[Any, ...]) -> None:
        seen.append(given[0].detach().float().cpu())

    listening = linear[-1].register_forward_pre_hook(keep)
    try:
        with torch.no_grad():
            model(inputs.to(model.device))
    finally:
        listening.remove()
    return seen[0]
