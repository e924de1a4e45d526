"""What every data set here has in common: tensors on the training device, cut into chunks of batches."""

from typing import ClassVar

import lightning.pytorch as pl
from torch import Tensor

from src.data.chunks import ChunkLoader
from src.paths import from_root
from src.randomness import split_order

# Evaluation goes through the network in pieces that stay in the processor's cache.
_EVALUATION_BATCH = 2000


class TensorData(pl.LightningDataModule):
    """A labelled data set that fits into memory. A new one says what its samples look like and how they are loaded.

    Args:
        dir: the folder of the data set's files, below the project's root if relative.
        batch_size: samples per optimizer step, over all ranks.
        steps_per_execution: batches in one chunk.
        val_size: samples held out of the training set; the same ones for the same seed.
        train_size: train on that many of the rest only; None: on all.
        seed: decides the split and the order of the samples.
    """

    # The shape of one raw sample, and how many classes there are.
    input_shape: ClassVar[tuple[int, ...]]
    classes: ClassVar[int]
    # The network sees (raw - mean) / std.
    mean: ClassVar[float] = 0.0
    std: ClassVar[float] = 1.0

    def __init__(
        self,
        *,
        dir: str = "data",
        batch_size: int = 64,
        steps_per_execution: int = 16,
        val_size: int = 5000,
        train_size: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.dir = from_root(dir)
        self.batch_size, self.steps_per_execution = batch_size, steps_per_execution
        self.val_size, self.train_size, self.seed = val_size, train_size, seed

    def load(self, train: bool) -> tuple[Tensor, Tensor]:
        """Load the training or the test set.

        Returns:
            Raw samples (n, *input_shape) and their labels, int64 (n,).
        """
        raise NotImplementedError

    def setup(self, stage: str) -> None:
        """Put what a stage needs (``fit``, ``validate`` or ``test``) onto the device."""
        if stage in ("fit", "validate"):
            inputs, labels = self.load(train=True)
            order = split_order(self.seed, len(labels))
            held_out, rest = order[: self.val_size], order[self.val_size :][: self.train_size]
            self.train_set = self._on_device(inputs[rest], labels[rest])
            self.val_set = self._on_device(inputs[held_out], labels[held_out])
        elif stage == "test":
            self.test_set = self._on_device(*self.load(train=False))

    def _on_device(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        device = self.trainer.strategy.root_device if self.trainer else "cpu"
        return inputs.to(device), labels.to(device)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch, known once ``setup`` has run."""
        return self.train_dataloader().steps

    def train_dataloader(self) -> ChunkLoader:
        """Shuffled chunks of the training samples."""
        return self._loader(self.train_set, self.batch_size, self.steps_per_execution, self.seed)

    def val_dataloader(self) -> ChunkLoader:
        """The held-out samples."""
        return self._loader(self.val_set, _EVALUATION_BATCH)

    def test_dataloader(self) -> ChunkLoader:
        """The official test samples."""
        return self._loader(self.test_set, _EVALUATION_BATCH)

    def _loader(
        self, data: tuple[Tensor, Tensor], batch_size: int, steps_per_execution: int = 1, seed: int | None = None
    ) -> ChunkLoader:
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        return ChunkLoader(
            *data,
            batch_size=batch_size,
            steps_per_execution=steps_per_execution,
            seed=seed,
            rank=rank,
            world=world,
        )

    def transfer_batch_to_device(self, batch: object, device: object, dataloader_idx: int) -> object:
        """The tensors are there already."""
        return batch
