"""What the callbacks that look at the test's outcome have in common."""

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
    """What the model made of the test set, in the test set's own order.

    Attributes:
        chances: probabilities, (n, classes).
        labels: the true classes, int64 (n,).
        inputs: the raw samples, (n, *shape).
        names: of the classes.
    """

    chances: Tensor
    labels: Tensor
    inputs: Tensor
    names: list[str]

    @property
    def predicted(self) -> Tensor:
        """The likeliest class of each sample, int64 (n,)."""
        return self.chances.argmax(1)

    @property
    def shows_pictures(self) -> bool:
        """Whether the samples are images, grey or in colour."""
        return are_images(self.inputs)

    def worst(self, most: int) -> list[int]:
        """The mistakes that were made with the most confidence, as indices."""
        wrong = self.predicted != self.labels
        sure = self.chances.amax(1).masked_fill(~wrong, -1.0)
        return sure.argsort(descending=True, stable=True)[: min(most, int(wrong.sum()))].tolist()


class AfterTest(pl.Callback):
    """Collects the logits of the test over all ranks; ``show`` then gets the outcome, on rank 0."""

    def show(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outcome: Outcome) -> None:
        """Make something of it."""
        raise NotImplementedError

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin anew; with another task than classification, or other data than tensors, there is nothing to do."""
        self._parts: list[tuple[Tensor, Tensor]] = []
        self._applies = classifies_tensors(pl_module, trainer.datamodule)  # type: ignore[attr-defined]
        if not self._applies:
            log.info(
                "%s is for classification of data in memory, one class a sample: nothing is shown.", type(self).__name__
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
        """Keep the logits, and which samples they are of."""
        if outputs is None or not self._applies:  # the last batch was too small for this rank
            return
        loader: ChunkLoader = trainer.test_dataloaders  # type: ignore[assignment]
        first = batch_idx * loader.batch_size
        mine = torch.arange(first, first + loader.samples_in(batch_idx))[trainer.global_rank :: trainer.world_size]
        self._parts.append((mine, outputs["logits"].detach().float().cpu()))

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Bring the ranks' shares together."""
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
    """Where pictures go: TensorBoard's files, if there are any."""
    return [logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
