"""Image folders, with one subfolder per class, read and transformed by worker processes during training."""

import hashlib
import json
import logging
import math
import os
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision import datasets
from torchvision.transforms import v2

from src.bounds import Bounds, Count, CountOrZero, FractionBelowOne, Positive
from src.data.images import fitted
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
from src.errors import ConfigError, DataError, suggest
from src.files import replacing
from src.paths import ROOT, from_root, shown

log = logging.getLogger(__name__)

_CACHE = ROOT / ".cache" / "image_folder"
# torchvision's transforms of a single image. The others are for batches, boxes or videos, convert types, which is done here, or
# take functions or other transforms.
_TRANSFORMS = (
    *(
        "AugMix",
        "AutoAugment",
        "CenterCrop",
        "ColorJitter",
        "ElasticTransform",
        "GaussianBlur",
        "GaussianNoise",
        "Grayscale",
    ),
    *("JPEG", "Pad", "RandAugment", "RandomAdjustSharpness", "RandomAffine", "RandomAutocontrast"),
    *(
        "RandomChannelPermutation",
        "RandomCrop",
        "RandomEqualize",
        "RandomErasing",
        "RandomGrayscale",
        "RandomHorizontalFlip",
    ),
    *("RandomInvert", "RandomPerspective", "RandomPhotometricDistort", "RandomPosterize", "RandomResizedCrop"),
    *("RandomRotation", "RandomSolarize", "RandomVerticalFlip", "RandomZoomOut", "Resize", "TrivialAugmentWide"),
)


class ImageFolder(pl.LightningDataModule):
    """RGB images of ``size`` x ``size``, whose class is the folder that contains them.

    ``dir`` contains a folder for each class, or the folders ``train`` and, optionally, ``val`` and ``test``, each with a folder
    for each class. Without a folder, validation and test images are held out from the training images, stratified by class.

    Images are scaled to cover the size and center-cropped; in training, ``transforms`` are then applied. Unless ``mean`` and
    ``std`` are set, all images are read once before the first training, which also detects damaged files.

    Args:
        seed: seed of the held-out samples.

    Attributes:
        input_shape: (3, size, size).
        classes: number of classes.
        class_names: sorted names of the class folders.
        normalize: applied to every batch on its device.

    Raises:
        ConfigError: the folder does not exist, a transform cannot be built, or settings are incompatible with each other or
            with the images.
        DataError: a folder has no classes, or classes other than the training images.
    """

    def __init__(
        self,
        *,
        dir: Annotated[str, "folder of images, relative to the project's root"],
        size: Annotated[int, Bounds(ge=1, le=10_000), "height and width of a sample"] = 64,
        batch_size: Annotated[Count, "samples per optimizer step, over all devices"] = 64,
        num_workers: Annotated[CountOrZero, "processes that read images, for each device; 0: none"] = 2,
        transforms: Annotated[
            Sequence[Mapping[str, Any]],
            "random changes of training images: names of torchvision.transforms.v2, and arguments",
        ] = (),
        val_size: Annotated[
            CountOrZero | FractionBelowOne,
            "images held out for validation if there is no folder val, a number or a fraction",
        ] = 0.1,
        test_size: Annotated[
            CountOrZero | FractionBelowOne,
            "images held out for the test if there is no folder test, a number or a fraction",
        ] = 0.1,
        train_size: Annotated[Count | None, "number of the remaining images to train on; null: all"] = None,
        per_class: PerClass = None,
        mean: Annotated[
            Sequence[float] | None, "of each channel, from 0 to 255; null: measured on the training images"
        ] = None,
        std: Annotated[Sequence[Positive] | None, "see mean"] = None,
        folds: Folds = None,
        fold: Fold = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_folds(folds, fold)
        check_sizes(train_size, per_class)
        self.batch_size, self.num_workers, self.size, self.seed = batch_size, num_workers, size, seed
        self.val_size = val_size if folds is None else 1 / folds
        self.test_size, self.train_size, self.per_class = test_size, train_size, per_class
        self.folds, self.fold = folds, fold
        self.input_shape = (3, size, size)
        self._mean_and_std = _checked(mean, std)
        self._transform = _built(transforms, self.input_shape)
        self._folders = _folders_in(from_root(dir))
        self.class_names = tuple(_classes_in(self._folders["train"]))
        self.classes = len(self.class_names)
        for folder in self._folders.values():
            _check_classes(folder, self._folders["train"], self.class_names)
        if folds is not None and "val" in self._folders:
            raise ConfigError(
                f"data.folds={folds} holds out training images for validation, and {shown(self._folders['val'])} has others: "
                "leave data.folds out, or move its images to the training images."
            )

    def prepare_data(self) -> None:
        """Read all images to compute mean and standard deviation of each channel, unless they are cached for these files.

        Raises:
            DataError: an image cannot be read, or a class has no image.
        """
        if self._mean_and_std is None:
            for name in self._folders:
                _ = self._sums(name)

    def setup(self, stage: str) -> None:
        """List and split the images of a stage (``fit``, ``validate`` or ``test``).

        Raises:
            ConfigError: there are too few images for the sizes that are set.
            DataError: a class has no image.
        """
        train, val, test = self._split
        if stage in ("fit", "validate"):
            self.train_set: Dataset[Any] = Subset(self._images("train", self._transform), train.tolist())
            self.val_set: Dataset[Any] = self._part("val", val)
        if stage in ("fit", "test"):
            self.test_set: Dataset[Any] = self._part("test", test)

    def _part(self, name: str, held_out: Tensor) -> Dataset[Any]:
        return self._images(name) if name in self._folders else Subset(self._images("train"), held_out.tolist())

    def _images(self, name: str, transform: v2.Transform | None = None) -> datasets.ImageFolder:
        """Dataset of the images of a folder, uint8 (3, size, size), and their class indices."""
        load = partial(_read, shape=self.input_shape)
        found = _Images(str(self._folders[name]), loader=load, transform=transform, allow_empty=True)
        if empty := {*range(self.classes)} - {*found.targets}:
            raise DataError(
                f"{shown(self._folders[name] / self.class_names[min(empty)])} has no image (a file that ends in "
                f"{', '.join(datasets.folder.IMG_EXTENSIONS)}): add one, or remove the folder."
            )
        return found

    @cached_property
    def _split(self) -> tuple[Tensor, Tensor, Tensor]:
        """Split the images of the training folder; returns their indices for training, validation and test."""
        labels = torch.tensor(self._images("train").targets)
        count = 0 if "test" in self._folders else self._count("test_size", len(labels))
        test, rest = hold_out(self.seed, len(labels), count, labels, purpose="test")
        if self.folds is not None:
            assert self.fold is not None
            check_fold_size(self.folds, len(rest))
            val, train = hold_out_fold(self.seed, len(rest), self.fold, self.folds, labels[rest])
        else:
            count = 0 if "val" in self._folders else self._count("val_size", len(rest))
            val, train = hold_out(self.seed, len(rest), count, labels[rest])
        if self.train_size is not None and self.train_size > len(train):
            raise ConfigError(
                f"data.train_size={self.train_size} must be at most {len(train)}, the images that are left."
            )
        if self.per_class is not None:
            return first_of_each_class(rest[train], labels, self.per_class, self.class_names), rest[val], test
        return rest[train][: self.train_size], rest[val], test

    def _count(self, setting: str, images: int) -> int:
        count = count_of(size := getattr(self, setting), images)
        if count >= images:
            raise ConfigError(
                f"data.{setting}={size} leaves nothing to train on: there are {images:,} images, so set {images - 1} at most."
            )
        return count

    @cached_property
    def normalize(self) -> Normalize:
        """Normalisation by ``mean`` and ``std`` as set, or those of each channel of the training images."""
        if self._mean_and_std is None:
            sums, squares = self._sums("train")[self._split[0].numpy()].sum(0) / self._split[0].numel() / self.size**2
            deviations = np.sqrt(np.maximum(squares - sums**2, 0))
            mean, std = torch.tensor(sums), torch.tensor(np.where(deviations > 0, deviations, 1.0))
        else:
            mean, std = map(torch.tensor, self._mean_and_std)
        return Normalize(mean.float().view(3, 1, 1), std.float().view(3, 1, 1))

    def _sums(self, name: str) -> NDArray[np.float64]:
        """Sums and sums of squares of each channel for each image of a folder, (images, 2, 3); cached in .cache/."""
        images = self._images(name, v2.Lambda(_sums_of))
        path = _CACHE / f"{self._key(images)}.npy"
        try:
            return np.load(path)
        except (OSError, ValueError, EOFError):  # the cache file does not exist or is damaged
            pass
        log.info("reading %d images in %s for mean and standard deviation", len(images), shown(self._folders[name]))
        loader = DataLoader(images, batch_size=64, num_workers=self.num_workers)
        try:
            found = torch.cat([sums for sums, _ in loader]).numpy()
        except DataError as error:  # from a worker, with its traceback
            raise DataError(
                str(error).strip().splitlines()[-1].removeprefix(f"{DataError.__module__}.DataError: ")
            ) from None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                np.save(file, found)
        except OSError as error:  # no cache if the project is read-only
            log.debug("%s cannot be written: %s", path, error)
        return found

    def _key(self, images: datasets.ImageFolder) -> str:
        """Cache key, which changes with the sample size and with the name, size or modification time of any file."""
        files = []
        for path, _ in images.samples:
            status = os.stat(path)
            files.append((os.path.relpath(path, images.root), status.st_size, status.st_mtime_ns))
        return hashlib.sha256(json.dumps([self.size, str(images.root), files]).encode()).hexdigest()[:32]

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled training images, transformed; uint8 (n, 3, size, size)."""
        return self._loader(self.train_set, shuffle=True)

    def val_dataloader(self) -> "DataLoader[Any] | list[Any]":
        """The validation images; empty if ``val_size`` is 0."""
        return self._loader(self.val_set) if self.val_size else []

    def test_dataloader(self) -> "DataLoader[Any] | list[Any]":
        """The test images; empty if there is no folder ``test`` and ``test_size`` is 0."""
        return self._loader(self.test_set) if self.test_size or "test" in self._folders else []

    def _loader(self, images: Dataset[Any], shuffle: bool = False) -> DataLoader[Any]:
        world = self.trainer.world_size if self.trainer else 1
        if self.batch_size % world:
            raise ConfigError(
                f"data.batch_size={self.batch_size} is shared by {world} devices: set a multiple of {world}, such as "
                f"{math.ceil(self.batch_size / world) * world}."
            )
        return DataLoader(images, self.batch_size // world, shuffle=shuffle, num_workers=self.num_workers)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> tuple[Tensor, Tensor]:
        """Normalise images on their device.

        Returns:
            Floating-point images (n, 3, size, size) and class indices, int64 (n,).
        """
        images, labels = batch
        return self.normalize(images, self.trainer.lightning_module.dtype if self.trainer else torch.float32), labels


class _Images(datasets.ImageFolder):
    """``torchvision.datasets.ImageFolder`` that ignores hidden folders such as .ipynb_checkpoints."""

    def find_classes(self, directory: str | Path) -> tuple[list[str], dict[str, int]]:
        names = _classes_in(Path(directory))
        return names, {name: number for number, name in enumerate(names)}


def _read(path: str, shape: Sequence[int]) -> Tensor:
    try:
        with Image.open(path) as image:
            return fitted(image, shape)
    except Exception as error:  # decoders may raise anything for a damaged file
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
        raise DataError(f"{path} cannot be read as an image ({reason}): replace or remove it.") from None


def _sums_of(image: Tensor) -> Tensor:
    values = image.double()
    return torch.stack([values.sum((1, 2)), values.square().sum((1, 2))])


def _folders_in(folder: Path) -> dict[str, Path]:
    """The image folders by name: ``train``, and ``val`` and ``test`` if they exist."""
    if not folder.is_dir():
        raise ConfigError(f"data.dir={folder}: there is no such folder; paths are relative to the project's root.")
    if not (folder / "train").is_dir():
        return {"train": folder}
    return {name: folder / name for name in ("train", "val", "test") if (folder / name).is_dir()}


def _classes_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))


def _check_classes(folder: Path, training: Path, names: Sequence[str]) -> None:
    if len(names) < 2:
        raise DataError(
            f"{shown(folder)} has {len(names)} folders: it must have one for each class, two or more, or train/ with these."
        )
    for one, others, where in ((names, _classes_in(folder), folder), (_classes_in(folder), names, training)):
        if missing := sorted({*one} - {*others}):
            raise DataError(
                f"{shown(where)} has no folder for the class {missing[0]!r}: {shown(folder)} and {shown(training)} must have "
                "the same classes."
            )


def _checked(
    mean: Sequence[float] | None, std: Sequence[float] | None
) -> tuple[Sequence[float], Sequence[float]] | None:
    if mean is None and std is None:
        return None
    if mean is None or std is None or len(mean) != 3 or len(std) != 3:
        raise ConfigError(f"data.mean={mean} and data.std={std} must have three numbers each, or both be null.")
    if max(std) <= 1:
        raise ConfigError(
            f"data.std={list(std)}: values of images are from 0 to 255; multiply data.mean and data.std by 255."
        )
    return mean, std


def _built(transforms: Sequence[Mapping[str, Any]], shape: Sequence[int]) -> v2.Transform | None:
    """Build the configured transforms and try them on a black image; None if there are none."""
    built = []
    for number, node in enumerate(transforms):
        key, settings = f"data.transforms[{number}]", {**node}
        name = settings.pop("name", None)
        if name not in _TRANSFORMS:
            raise ConfigError(
                f"{key}.name={'null' if name is None else name} is none of torchvision's transforms of an image"
                f"{suggest(str(name), _TRANSFORMS) or ';'} there are {', '.join(_TRANSFORMS)}."
            )
        try:
            built.append(getattr(v2, name)(**settings))
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            raise ConfigError(f"{key}: {name} cannot be built ({' '.join(str(error).split())}).") from error
    if not built:
        return None
    transform = v2.Compose(built)
    state = torch.random.get_rng_state()
    try:
        changed = transform(torch.zeros(tuple(shape), dtype=torch.uint8))
    except Exception as error:  # an invalid argument may raise anything
        raise ConfigError(f"data.transforms cannot change an image of shape {tuple(shape)} ({error}).") from error
    finally:
        torch.random.set_rng_state(state)
    if tuple(changed.shape) != tuple(shape):
        raise ConfigError(
            f"data.transforms make images of shape {tuple(changed.shape)} of {tuple(shape)}: let the last of them return the "
            f"size that data.size={shape[-1]} sets."
        )
    return transform
