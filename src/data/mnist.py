"""MNIST (LeCun, Cortes and Burges, 1998): 60,000 images for training, 10,000 for the test, 28 x 28 grey, ten digits."""

from typing import ClassVar

from torch import Tensor
from torchvision import datasets

from src.data.archives import unpack
from src.data.module import TensorData
from src.errors import DataError


class MNIST(TensorData):
    """MNIST from the four original archives in ``<dir>/MNIST/raw``. The test set is the official one, always."""

    source: ClassVar[type[datasets.MNIST]] = datasets.MNIST
    input_shape = (28, 28)
    classes = 10
    # Grey values from 0 to 255, which the network sees as [-1, 1].
    mean, std = 127.5, 127.5

    def prepare_data(self) -> None:
        """Check and unpack the archives.

        Raises:
            DataError: one is missing or damaged.
        """
        unpack(self.dir / self.source.__name__ / "raw", self.source.resources)

    def load(self, train: bool) -> tuple[Tensor, Tensor]:
        """Images as uint8 (n, 28, 28) and digits as int64 (n,).

        Raises:
            DataError: there are more of one than of the other.
        """
        images = self.source(self.dir, train=train)
        if len(images.data) != len(images.targets):
            raise DataError(f"{self.dir}: {len(images.data)} images do not go with {len(images.targets)} labels.")
        return images.data, images.targets
