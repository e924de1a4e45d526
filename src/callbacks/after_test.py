"""Base class of callbacks that use the predictions on the test set."""

import logging
from typing import Any, NamedTuple

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from src.data.chunks import ChunkLoader
from src.data.images import are_images
from src.data.module import TensorData
from src.tasks.classification import classifies_tensors
from src.tasks.losses import probabilities

log = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """Predictions of the model on the test set, in the order of the test set.

    Attributes:
        probabilities: predicted probabilities, (n, classes).
        labels: the true classes, int64 (n,).
        inputs: the raw samples, (n, *shape).
        names: class names.
    """

    probabilities: Tensor
    labels: Tensor
    inputs: Tensor
    names: list[str]

    @property
    def predicted(self) -> Tensor:
        """The most probable class of each sample, int64 (n,)."""
        return self.probabilities.argmax(1)

    @property
    def shows_pictures(self) -> bool:
        """Whether the samples are grayscale or color images."""
        return are_images(self.inputs)

    def worst(self, most: int) -> list[int]:
        """Indices of the misclassified samples with the highest confidence."""
        wrong = self.predicted != self.labels
        confidence = self.probabilities.amax(1).masked_fill(~wrong, -1.0)
        return confidence.argsort(descending=True, stable=True)[: min(most, int(wrong.sum()))].tolist()


class AfterTest(pl.Callback):
    """Gathers the test logits from all ranks and calls ``show`` with the outcome on rank 0."""

    def show(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outcome: Outcome) -> None:
        """Use the outcome; called on rank 0."""
        raise NotImplementedError

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Reset the state; only classification of data in memory is supported."""
        self._parts: list[tuple[Tensor, Tensor]] = []
        self._applies = classifies_tensors(pl_module, trainer.datamodule)  # type: ignore[attr-defined]
        if not self._applies:
            log.info(
                "%s shows nothing: it is for classification of data in memory, with one class per sample.",
                type(self).__name__,
            )

    def on_test_batch_end(  # type: ignore[override]
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: dict[str, Tensor] | None,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Store the logits and the indices of their samples."""
        if outputs is None or not self._applies:  # the last batch was too small for this rank
            return
        loader: ChunkLoader = trainer.test_dataloaders  # type: ignore[assignment]
        first = batch_idx * loader.batch_size
        mine = torch.arange(first, first + loader.samples_in(batch_idx))[trainer.global_rank :: trainer.world_size]
        self._parts.append((mine, outputs["logits"].detach().float().cpu()))

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Gather the logits of all ranks."""
        if not self._applies:
            return
        shares: list[Any] = [self._parts]
        if trainer.world_size > 1:
            shares = [None] * trainer.world_size
            torch.distributed.all_gather_object(shares, self._parts)
        if not trainer.is_global_zero:
            return
        parts = [part for share in shares for part in share]
        tested, order = torch.cat([samples for samples, _ in parts]).sort()  # limit_test_batches may leave some out
        logits = torch.cat([part for _, part in parts])[order]
        data: TensorData = trainer.datamodule  # type: ignore[attr-defined]
        inputs, labels = (tensor.cpu()[tested] for tensor in data.test_set)
        self.show(trainer, pl_module, Outcome(probabilities(logits), labels, inputs, list(data.class_names)))


def writers(trainer: pl.Trainer) -> list[SummaryWriter]:
    """TensorBoard writers of the loggers, if any, for images."""
    return [logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
