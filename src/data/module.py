"""The LightningDataModule of data sets that fit into memory: tensors on the training device."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import lightning.pytorch as pl
import torch
from torch import Tensor

from src.bounds import Count, CountOrZero, Positive
from src.data.augment import Augmentation
from src.data.chunks import Chunk, ChunkLoader
from src.data.normalize import Normalize
from src.data.validation import validated
from src.errors import ConfigError
from src.randomness import AUGMENTATION, seed_step, split_order, step_seeds

# Evaluation goes through the network in pieces that stay in the processor's cache.
_EVALUATION_BATCH = 2000


class TensorData(pl.LightningDataModule):
    """A labelled data set that fits into memory. A new one says what its samples look like and how they are loaded.

    Args:
        seed: decides the split, the order of the samples and their augmentation.

    Attributes:
        normalize: applied to every batch.
        in_chunks: whether the training gets ``Chunk``s of ``steps_per_execution`` batches; set before the training starts.

    Raises:
        ConfigError: ``std`` is not above 0, or samples that are no images are to be augmented.
    """

    # The shape of one raw sample, how many classes there are, and what they are called: by their numbers, unless it is said.
    input_shape: ClassVar[tuple[int, ...]]
    classes: ClassVar[int]
    class_names: ClassVar[tuple[str, ...]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Call classes by their numbers where a data set says how many there are, but not what they are called.

        Raises:
            TypeError: ``classes`` is no number of classes, or there are more of one than of the other.
        """
        super().__init_subclass__(**kwargs)
        if "classes" in vars(cls) and not (isinstance(cls.classes, int) and cls.classes > 0):
            raise TypeError(f"{cls.__name__}.classes={cls.classes!r} must be an integer of at least 1")
        if "classes" in vars(cls) and "class_names" not in vars(cls):
            cls.class_names = tuple(str(number) for number in range(cls.classes))
        if "class_names" in vars(cls) and len(cls.class_names) != cls.classes:
            raise TypeError(f"{cls.__name__} has {cls.classes} classes and {len(cls.class_names)} class_names")

    def __init__(
        self,
        *,
        batch_size: Annotated[Count, "samples per optimizer step, over all devices"] = 64,
        steps_per_execution: Annotated[
            Count, "optimizer steps per batch of Lightning's loop; affects the speed only"
        ] = 64,
        val_size: Annotated[CountOrZero, "training samples held out for validation, chosen by the seed"] = 5000,
        train_size: Annotated[Count | None, "number of the remaining samples to train on; null: all"] = None,
        mean: Annotated[float, "the network receives (raw - mean) / std"] = 0.0,
        std: Annotated[Positive, "see mean"] = 1.0,
        augment: Annotated[Mapping[str, float], Augmentation, "random changes of the training images"] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.batch_size, self.steps_per_execution = batch_size, steps_per_execution
        self.val_size, self.train_size, self.seed = val_size, train_size, seed
        if not 0 < std < math.inf:
            raise ConfigError(f"data.std={std:g} must be above 0 and finite: the network sees (raw - mean) / std.")
        self.normalize = Normalize(mean, std)
        self.in_chunks = False
        changes = Augmentation(**(augment or {}))
        self.augmentation = None if changes == Augmentation() else changes
        if self.augmentation and len(self.input_shape) != 2:
            raise ConfigError(
                f"data.augment changes images of shape (height, width), and a sample is of shape {tuple(self.input_shape)}: "
                "leave it out."
            )

    def load(self, train: bool) -> tuple[Tensor, Tensor]:
        """Load the training or the test set.

        Returns:
            Raw samples (n, *input_shape) and their labels (n,), whole numbers of any type from 0 to classes - 1.
        """
        raise NotImplementedError

    def setup(self, stage: str) -> None:
        """Put what a stage needs (``fit``, ``validate`` or ``test``) onto the device.

        A training is tested, so ``fit`` loads the test set too: what is wrong with it is reported before the first step.

        Raises:
            DataError: see ``src.data.validation``.
            ConfigError: there are too few samples for the sizes that are set.
        """
        if stage in ("fit", "validate"):
            inputs, labels = self._loaded(train=True)
            self._check_sizes(len(labels))
            order = split_order(self.seed, len(labels))
            held_out, rest = order[: self.val_size], order[self.val_size :][: self.train_size]
            self.train_set = self._on_device(inputs.index_select(0, rest), labels.index_select(0, rest))
            self.val_set = self._on_device(inputs.index_select(0, held_out), labels.index_select(0, held_out))
        if stage in ("fit", "test") and not hasattr(self, "test_set"):
            self.test_set = self._on_device(*self._loaded(train=False))

    def _loaded(self, train: bool) -> tuple[Tensor, Tensor]:
        name = f"{type(self).__name__}, {'training' if train else 'test'} set"
        return validated(self.load(train), name=name, input_shape=self.input_shape, classes=self.classes)

    def _check_sizes(self, size: int) -> None:
        """Refuse sizes that leave a set empty, or smaller than it is said to be."""
        if self.val_size >= size:
            raise ConfigError(
                f"data.val_size={self.val_size} leaves nothing to train on: the training set has {size:,} samples, so set "
                f"{size - 1} at most."
            )
        if self.train_size is not None and self.train_size > size - self.val_size:
            raise ConfigError(
                f"data.train_size={self.train_size} must be at most {size - self.val_size}: of {size:,} samples "
                f"data.val_size={self.val_size} are held out."
            )

    def _on_device(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        device = self.trainer.strategy.root_device if self.trainer else "cpu"
        return inputs.to(device), labels.to(device)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch, known once ``setup`` has run."""
        return math.ceil(len(self.train_set[1]) / self.batch_size)

    def train_dataloader(self) -> ChunkLoader:
        """Shuffled training samples, from the current epoch of the trainer; chunks of one batch unless ``in_chunks`` is set."""
        steps = self.steps_per_execution if self.in_chunks else 1
        loader = self._loader(self.train_set, self.batch_size, steps, self.seed)
        if self.trainer is not None:
            # Lightning gives a loader its state back only within an epoch.
            loader.epoch = self.trainer.fit_loop.epoch_progress.current.processed  # type: ignore[attr-defined]
        return loader

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

    def on_after_batch_transfer(self, batch: Chunk, dataloader_idx: int) -> Chunk | tuple[Tensor, Tensor]:
        """Augment training samples, each batch with a seed of its own, and normalise. The loaders yield chunks.

        Returns:
            Samples (n, *input_shape) and labels (n,); in training a chunk, if ``in_chunks`` is set.
        """
        assert self.trainer is not None
        training = self.trainer.training
        if training and self.augmentation:
            batch = self._augmented(batch, self.augmentation, self.trainer)
        inputs = self.normalize(batch.inputs, self.trainer.lightning_module.dtype)
        return batch._replace(inputs=inputs) if training and self.in_chunks else (inputs, batch.labels)

    def _augmented(self, chunk: Chunk, augmentation: Augmentation, trainer: pl.Trainer) -> Chunk:
        device = chunk.inputs.device
        seeds = step_seeds(AUGMENTATION, self.seed, trainer.current_epoch, trainer.global_rank, self.steps_per_epoch)
        drawn = []
        for step, size in enumerate(chunk.sizes, chunk.first_step):
            seed_step(seeds[step], device)
            drawn.append(augmentation.draw(size, device))
        return chunk._replace(inputs=augmentation.apply(chunk.inputs, torch.cat(drawn)))
