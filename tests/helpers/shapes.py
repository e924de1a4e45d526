"""A data set of images of any shape."""

import torch
from torch import Tensor

from src.data.module import TensorData


class Squares(TensorData):
    """A bright square in one of four corners, which is the class; in colour it is red, green or blue."""

    input_shape = (3, 12, 12)
    classes = 4

    def __init__(self, *, shape: tuple[int, ...] = (3, 12, 12), **settings) -> None:
        self.input_shape = tuple(shape)
        super().__init__(**{"val_size": 20, "mean": 127.5, "std": 127.5, **settings})

    def load(self, train: bool) -> tuple[Tensor, Tensor]:
        size = 120 if train else 40
        generator = torch.Generator().manual_seed(size)
        height, width = self.input_shape[-2:]
        labels = torch.arange(size) % 4
        images = torch.randint(60, (size, 3, height, width), generator=generator)
        for number, label in enumerate(labels.tolist()):
            rows = slice(0, height // 2) if label < 2 else slice(height // 2, None)
            columns = slice(0, width // 2) if label % 2 else slice(width // 2, None)
            images[number, number % 3, rows, columns] += 190
        channels = self.input_shape[0] if len(self.input_shape) == 3 else 1
        images = images if channels == 3 else images.amax(1, keepdim=True)
        return images.reshape(size, *self.input_shape).to(torch.uint8), labels
