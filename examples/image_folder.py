"""A folder of image files, one folder per class, for torchvision's networks: python -m src.train experiment=example_resnet"""

from pathlib import Path

import lightning.pytorch as pl
from torch.utils.data import DataLoader
from torchvision.datasets import MNIST, ImageFolder
from torchvision.transforms import Compose, Normalize, Resize, ToTensor


class DigitFiles(pl.LightningDataModule):
    """Coloured PNG files in ``train/<class>/`` and ``val/<class>/``; digits of MNIST are written where there are none.

    Args:
        dir: the folder.
        images: number of files of each split that are written.
        size: height and width in pixels.
        batch_size: images per optimizer step and device.
        workers: processes that read files.
        mnist: the folder that contains MNIST/raw.
    """

    classes = 10

    def __init__(
        self,
        dir: str = "data/digits",
        images: int = 256,
        size: int = 32,
        batch_size: int = 32,
        workers: int = 0,
        mnist: str = "data",
    ) -> None:
        super().__init__()
        self.dir, self.images, self.mnist = Path(dir), images, mnist
        self.batch_size, self.workers = batch_size, workers
        self.input_shape = (3, size, size)
        self.transform = Compose([Resize((size, size)), ToTensor(), Normalize(0.5, 0.5)])

    def prepare_data(self) -> None:
        """Write the files."""
        for split, is_train in (("train", True), ("val", False)):
            if (self.dir / split).exists():
                continue
            digits = MNIST(self.mnist, is_train, download=True)  # unpacks the archives that are there
            for number in range(self.images):
                image, digit = digits[number]
                path = self.dir / split / str(digit) / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                image.convert("RGB").save(path)

    def setup(self, stage: str) -> None:
        """List the files."""
        self.train_set, self.val_set = (ImageFolder(self.dir / split, self.transform) for split in ("train", "val"))

    def train_dataloader(self) -> DataLoader:
        """Shuffled images (n, 3, size, size) and classes (n,)."""
        return DataLoader(self.train_set, self.batch_size, shuffle=True, num_workers=self.workers)

    def val_dataloader(self) -> DataLoader:
        """The other files."""
        return DataLoader(self.val_set, 2 * self.batch_size, num_workers=self.workers)

    def test_dataloader(self) -> DataLoader:
        """Those of the validation again."""
        return self.val_dataloader()
