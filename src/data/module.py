"""Base class of data sets that fit into memory: a LightningDataModule of tensors on the training device."""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import lightning.pytorch as pl
import torch
from torch import Tensor

from src.bounds import Count, CountOrZero, FractionBelowOne, Positive
from src.data.augment import Augmentation
from src.data.chunks import Chunk, ChunkLoader
from src.data.images import is_image
from src.data.normalize import Normalize
from src.data.split import (
    Fold,
    Folds,
    PerClass,
    check_fold_size,
    check_folds,
    check_sizes,
    count_of,
    first_of_each_class,
    hold_out,
    hold_out_fold,
)
from src.data.validation import validated
from src.errors import ConfigError
from src.randomness import AUGMENTATION, seed_step, step_seeds

# Evaluation uses batches that fit into the processor's cache.
_EVALUATION_BATCH = 2000
# Cache of ``share``: loaded samples by class, set and the settings on which they depend.
_shared: dict[tuple[Any, ...], tuple[Tensor, Tensor]] = {}


class TensorData(pl.LightningDataModule):
    """Base class of labelled data sets that fit into memory. Subclasses define the shape of samples and how they are loaded.

    ``input_shape`` and ``classes``, or for regression ``classes = None`` and ``targets``, are class attributes, or instance
    attributes if they depend on a file; the latter must be set before this constructor is called.

    Args:
        seed: seed of the split, the shuffling and the augmentation.

    Attributes:
        input_shape: shape of a raw sample; images are (height, width) or (channels, height, width).
        classes: number of classes; None for regression.
        class_names: names of the classes; by default their indices.
        multilabel: whether a sample may belong to any number of classes.
        targets: number of targets per sample, for regression.
        target_names: names of the targets; by default their indices.
        loaded_by: names of the settings, which are also attributes, on which the result of ``load`` depends: jobs of a sweep with
            equal settings load the samples once. None if unknown, so that each job loads its own.
        stratified: whether held-out samples are stratified by class; folds always are.
        draws_test: whether the seed chooses the test samples, too.
        normalize: applied to every batch.
        in_chunks: whether training batches are ``Chunk``s of ``steps_per_execution`` batches; set before training starts.
        loaders: loaders of the stages ``train``, ``val`` and ``test`` that replace the usual ones; a task may set them in its
            ``setup``.

    Raises:
        ConfigError: ``std`` is not above 0, ``mean`` or ``std`` has the wrong shape, augmentation is set for samples that are not
            images, ``folds`` and ``fold`` or ``per_class`` and other settings are incompatible, or the subclass lacks a required
            attribute.
    """

    input_shape: tuple[int, ...]
    classes: Any  # int | None; users of the number check that it is not None
    class_names: tuple[str, ...]
    multilabel: bool = False
    targets: int
    target_names: tuple[str, ...]
    stratified: bool = False
    draws_test: bool = False
    loaded_by: ClassVar[tuple[str, ...] | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Set default names of classes and targets, if a subclass declares their numbers but no names.

        Raises:
            TypeError: ``classes`` or ``targets`` is not a valid number, or the number of names differs from it.
        """
        super().__init_subclass__(**kwargs)
        for number, names in (("classes", "class_names"), ("targets", "target_names")):
            count = vars(cls).get(number)
            if (
                number in vars(cls)
                and not (isinstance(count, int) and count > 0)
                and (number, count) != ("classes", None)
            ):
                raise TypeError(f"{cls.__name__}.{number}={count!r} must be an integer of at least 1")
            if count is not None and names not in vars(cls):
                setattr(cls, names, tuple(str(one) for one in range(count)))
            if names in vars(cls) and len(getattr(cls, names)) != getattr(cls, number):
                raise TypeError(
                    f"{cls.__name__} has {getattr(cls, number)} {number} and {len(getattr(cls, names))} {names}"
                )

    def __init__(
        self,
        *,
        batch_size: Annotated[Count, "samples per optimizer step, over all devices"] = 64,
        steps_per_execution: Annotated[
            Count, "optimizer steps per batch of Lightning's loop; affects the speed only"
        ] = 64,
        val_size: Annotated[
            CountOrZero | FractionBelowOne, "training samples held out for validation, a number or a fraction"
        ] = 5000,
        train_size: Annotated[Count | None, "number of the remaining samples to train on; null: all"] = None,
        per_class: PerClass = None,
        mean: Annotated[
            float | Sequence[float], "the network receives (raw - mean) / std; one number, or one per channel"
        ] = 0.0,
        std: Annotated[Positive | Sequence[Positive], "see mean"] = 1.0,
        augment: Annotated[Mapping[str, float], Augmentation, "random changes of the training images"] | None = None,
        folds: Folds = None,
        fold: Fold = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self._check_definition()
        check_folds(folds, fold)
        self.batch_size, self.steps_per_execution = batch_size, steps_per_execution
        self.val_size = val_size if folds is None else 1 / folds
        self.train_size, self.per_class, self.folds, self.fold, self.seed = train_size, per_class, folds, fold, seed
        self._check_per_class()
        self.normalize = Normalize(self._per_channel("mean", mean), self._per_channel("std", std))
        self.in_chunks = False
        self.loaders: dict[str, ChunkLoader] = {}
        changes = Augmentation(**(augment or {}))
        self.augmentation = None if changes == Augmentation() else changes
        if self.augmentation and not is_image(self.input_shape):
            raise ConfigError(
                "data.augment changes images of shape (height, width) or (channels, height, width) with 1 or 3 channels, "
                f"and a sample is of shape {tuple(self.input_shape)}: leave it out."
            )

    def _check_definition(self) -> None:
        missing = [name for name in ("input_shape", "classes") if not hasattr(self, name)]
        if getattr(self, "classes", 1) is None and not hasattr(self, "targets"):
            missing.append("targets")
        if type(self).load is TensorData.load:
            missing.append("load")
        if missing:
            target = f"{type(self).__module__}.{type(self).__qualname__}"
            raise ConfigError(f"data._target_={target}: the class must define {', '.join(missing)}.")

    def _check_per_class(self) -> None:
        check_sizes(self.train_size, self.per_class)
        if self.per_class is not None and (not self.classes or self.multilabel):
            kind = "a sample may be of several classes" if self.classes else "the targets are numbers"
            raise ConfigError(f"data.per_class={self.per_class}: {kind}: set data.train_size instead.")

    def _per_channel(self, name: str, value: float | Sequence[float]) -> float | Tensor:
        """Convert a list with a number for each channel, or each value of a vector, to a tensor; a single number is unchanged."""
        numbers = torch.tensor(value, dtype=torch.float32)
        if name == "std" and not bool(((numbers > 0) & numbers.isfinite()).all()):
            raise ConfigError(f"data.std={value} must be above 0 and finite: the network receives (raw - mean) / std.")
        if numbers.ndim == 0:
            assert isinstance(value, int | float)
            return value
        shape = tuple(self.input_shape)
        if len(shape) not in (1, 3) or len(numbers) != shape[0]:
            raise ConfigError(
                f"data.{name} has {len(numbers)} values and a sample is of shape {shape}: set one number, or one for each "
                "channel of samples of shape (channels, height, width)."
            )
        return numbers.view(-1, *[1] * (len(shape) - 1))

    def load(self, train: bool) -> tuple[Tensor, Tensor]:
        """Load the training or the test set.

        Returns:
            Raw samples (n, *input_shape) and labels: for classification (n,), integers of any dtype from 0 to classes - 1, or if
            ``multilabel`` (n, classes) of 0 and 1; for regression (n, targets).
        """
        raise NotImplementedError

    def setup(self, stage: str) -> None:
        """Load the samples of a stage (``fit``, ``validate`` or ``test``) onto the device.

        ``fit`` also loads the test set, so that errors in it are reported before the first step.

        Raises:
            DataError: see ``src.data.validation``.
            ConfigError: there are too few samples for the sizes that are set.
        """
        if stage in ("fit", "validate"):
            inputs, labels = self._loaded(train=True)
            rest, held_out = self.split(labels)
            self.train_set = self._on_device(inputs.index_select(0, rest), labels.index_select(0, rest))
            self.val_set = self._on_device(inputs.index_select(0, held_out), labels.index_select(0, held_out))
        if stage in ("fit", "test") and not hasattr(self, "test_set"):
            self.test_set = self._on_device(*self._loaded(train=False))

    def share(self) -> None:
        """Load the samples once for all data modules with the same data in this process and in processes forked from it.

        Raises:
            DataError: see ``setup``.
        """
        if self.loaded_by is not None and self._key(train=True) not in _shared:
            self.prepare_data()
            _shared.update({self._key(train): self._loaded(train) for train in (True, False)})

    def _key(self, train: bool) -> tuple[Any, ...]:
        return (type(self), train, *(getattr(self, name) for name in self.loaded_by or ()))

    def _loaded(self, train: bool) -> tuple[Tensor, Tensor]:
        if self.loaded_by is not None and (found := _shared.get(self._key(train))):
            return found
        return validated(
            self.load(train),
            name=f"{type(self).__name__}, {'training' if train else 'test'} set",
            input_shape=self.input_shape,
            classes=self.classes,
            multilabel=self.multilabel,
            targets=0 if self.classes else self.targets,
        )

    def split(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Split the training set, determined by the seed.

        Args:
            labels: labels of the training set.

        Returns:
            Indices of the training samples, and of the samples held out for validation, int64.

        Raises:
            ConfigError: there are too few samples for the sizes that are set.
        """
        samples = len(labels)
        self._check_sizes(samples)
        classes = labels if self.classes and not self.multilabel else None
        if self.folds is not None:
            assert self.fold is not None
            held_out, rest = hold_out_fold(self.seed, samples, self.fold, self.folds, classes)
        else:
            count = count_of(self.val_size, samples)
            held_out, rest = hold_out(self.seed, samples, count, classes if self.stratified else None)
        if self.per_class is not None:
            return first_of_each_class(rest, labels, self.per_class, self.class_names), held_out
        return rest[: self.train_size], held_out

    def _check_sizes(self, size: int) -> None:
        """Raise ``ConfigError`` if a set would be empty, or smaller than configured."""
        if self.folds is not None:
            check_fold_size(self.folds, size)
            held_out, setting = math.ceil(size / self.folds), f"a fold of data.folds={self.folds}"
        else:
            held_out, setting = count_of(self.val_size, size), f"data.val_size={self.val_size}"
            if held_out >= size:
                raise ConfigError(
                    f"data.val_size={self.val_size} leaves nothing to train on: the training set has {size:,} samples, so "
                    f"set {size - 1} at most."
                )
        if self.train_size is not None and self.train_size > size - held_out:
            raise ConfigError(
                f"data.train_size={self.train_size} must be at most {size - held_out}: of {size:,} samples {setting} "
                "are held out."
            )

    def _on_device(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        device = self.trainer.strategy.root_device if self.trainer else "cpu"
        return inputs.to(device), labels.to(device)

    @property
    def steps_per_epoch(self) -> int:
        """Number of optimizer steps per epoch, available after ``setup``."""
        if "train" in self.loaders:
            return self.loaders["train"].steps
        return math.ceil(len(self.train_set[1]) / self.batch_size)

    def train_dataloader(self) -> ChunkLoader:
        """Shuffled training samples, from the current epoch of the trainer; chunks of one batch unless ``in_chunks`` is set."""
        steps = self.steps_per_execution if self.in_chunks else 1
        loader = self.loaders.get("train") or self._loader(self.train_set, self.batch_size, steps, self.seed)
        if self.trainer is not None:
            # Lightning restores the state of a loader only within an epoch.
            loader.epoch = self.trainer.fit_loop.epoch_progress.current.processed  # type: ignore[attr-defined]
        return loader

    def val_dataloader(self) -> ChunkLoader:
        """The validation samples, in a fixed order."""
        return self.loaders.get("val") or self._loader(self.val_set, _EVALUATION_BATCH)

    def test_dataloader(self) -> ChunkLoader:
        """The test samples, in a fixed order."""
        return self.loaders.get("test") or self._loader(self.test_set, _EVALUATION_BATCH)

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
        """No-op: the tensors are already on the device."""
        return batch

    def on_after_batch_transfer(self, batch: Chunk, dataloader_idx: int) -> Chunk | tuple[Tensor, Tensor]:
        """Augment training samples, with a different seed for each batch, and normalise. The loaders yield chunks.

        Returns:
            Samples (n, *input_shape) and labels (n,); in training a chunk if ``in_chunks`` is set.
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
