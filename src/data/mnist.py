"""MNIST (LeCun, Cortes and Burges, 1998) and its drop-in replacements: grayscale images of 28 x 28, ten classes."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor
from torchvision import datasets

from src.bounds import Bounds, Positive
from src.data.archives import unpack
from src.data.module import TensorData
from src.errors import ConfigError, DataError
from src.paths import from_root

SIZE = 60_000  # training images


class MNIST(TensorData):
    """60,000 training and 10,000 test images of handwritten digits, from the four original archives.

    Args:
        settings: see ``TensorData``.

    Raises:
        ConfigError: there are fewer samples than ``train_size`` and ``val_size`` together, or ``only_classes`` are no classes.
    """

    source: ClassVar[type[datasets.MNIST]] = datasets.MNIST
    input_shape = (28, 28)
    classes = 10
    loaded_by = ("dir", "only_classes")
    # Training images of each class.
    class_sizes: ClassVar[tuple[int, ...]] = (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
    # MNIST is part of the repository; torchvision downloads the others on first use.
    ships: ClassVar[bool] = True

    def __init__(
        self,
        *,
        dir: Annotated[str, "folder that contains MNIST/raw/, relative to the project's root"] = "data",
        val_size: Annotated[
            int, Bounds(ge=0, lt=SIZE), "training images of 60,000 held out for validation, chosen by the seed"
        ] = 5000,
        mean: Annotated[float, "the network receives (grey value - mean) / std, by default in [-1, 1]"] = 127.5,
        std: Annotated[Positive, "see mean"] = 127.5,
        only_classes: Annotated[
            Sequence[int] | None, "the classes to train and test on, in the order of the outputs; null: all"
        ] = None,
        **settings: Any,
    ) -> None:
        super().__init__(val_size=val_size, mean=mean, std=std, **settings)
        self.dir = from_root(dir)
        self.only_classes = None if only_classes is None else self._checked(only_classes)
        if self.only_classes is None:
            self._check_sizes(SIZE)
        else:
            self._check_sizes(sum(self.class_sizes[one] for one in self.only_classes))
            self.classes = len(self.only_classes)
            self.class_names = tuple(self.class_names[one] for one in self.only_classes)

    def _checked(self, chosen: Sequence[int]) -> tuple[int, ...]:
        if len(chosen) < 2 or len({*chosen}) < len(chosen) or not all(0 <= one < self.classes for one in chosen):
            raise ConfigError(
                f"data.only_classes={list(chosen)} must name two classes or more, each once, from 0 to {self.classes - 1}."
            )
        return tuple(chosen)

    @property
    def archives(self) -> list[tuple[str, str]]:
        """Name and MD5 of each archive."""
        return list(self.source.resources)

    @property
    def raw(self) -> Path:
        """Directory of the archives."""
        return self.dir / self.source.__name__ / "raw"

    def prepare_data(self) -> None:
        """Download missing archives, verify and unpack them.

        Raises:
            DataError: an archive is missing and cannot be downloaded, or is damaged.
        """
        present = all(
            (self.raw / name).exists() or (self.raw / name).with_suffix("").exists() for name, _ in self.archives
        )
        if not present and not self.ships:
            self._fetch()
        unpack(self.raw, self.archives)

    def _fetch(self) -> None:
        """Download with torchvision into a temporary folder, and move the complete files."""
        try:
            self.raw.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.raw.parent, prefix=".fetching-") as aside:
                self._download(aside)
                for name, _ in self.archives:
                    os.replace(Path(aside, self.source.__name__, "raw", name), self.raw / name)
        except Exception as error:  # torchvision raises any error of network, server or disk
            names = ", ".join(name for name, _ in self.archives)
            cause = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DataError(
                f"{self.source.__name__} could not be fetched ({cause}): put {names} into {self.raw}."
            ) from error

    def _download(self, folder: str) -> None:
        self.source(folder, download=True)

    def load(self, train: bool) -> tuple[Tensor, Tensor]:
        """Load images as uint8 (n, 28, 28) and classes as int64 (n,); those of ``only_classes`` are numbered by position."""
        images, labels = self._read(train)
        if self.only_classes is None:
            return images, labels
        positions = torch.full((len(self.source.classes),), -1)
        positions[list(self.only_classes)] = torch.arange(self.classes)
        renumbered = positions[labels]
        return images[renumbered >= 0], renumbered[renumbered >= 0]

    def _read(self, train: bool) -> tuple[Tensor, Tensor]:
        found = self.source(self.dir, train=train)
        return found.data, found.targets


class FashionMNIST(MNIST):
    """Images of clothing (Xiao, Rasul and Vollgraf, 2017), of the same sizes as MNIST."""

    source = datasets.FashionMNIST
    class_names = tuple(datasets.FashionMNIST.classes)
    class_sizes = (6000,) * 10
    ships = False


class KMNIST(MNIST):
    """Cursive Japanese characters (Clanuwat and others, 2018), of the same sizes as MNIST; class names are transliterations."""

    source = datasets.KMNIST
    class_names = tuple(datasets.KMNIST.classes)
    class_sizes = (6000,) * 10
    ships = False


class QMNIST(MNIST):
    """MNIST reconstructed from its sources, with all 60,000 test images (Yadav and Bottou, 2019)."""

    source = datasets.QMNIST
    ships = False

    @property
    def archives(self) -> list[tuple[str, str]]:
        """Name and MD5 of each archive of both subsets."""
        both = [*datasets.QMNIST.resources["train"], *datasets.QMNIST.resources["test"]]
        return [(Path(address).name, md5) for address, md5 in both]

    def _download(self, folder: str) -> None:
        for what in ("train", "test"):
            datasets.QMNIST(folder, what=what, download=True)

    def _read(self, train: bool) -> tuple[Tensor, Tensor]:
        found = datasets.QMNIST(self.dir, what="train" if train else "test")
        return found.data, found.targets[:, 0].long()  # the other columns are metadata, such as the writer
