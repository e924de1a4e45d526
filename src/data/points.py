"""The article's second example: four points of two numbers each, in two classes."""

import torch
from torch import Tensor

from src.data.module import TensorData


class Points(TensorData):
    """Inputs (1,0), (0,1), (1,1), (1,0) with labels 0, 1, 1, 0, for training and for the test alike."""

    input_shape = (2,)
    classes = 2

    def load(self, train: bool) -> tuple[Tensor, Tensor]:
        """The four points, float32 (4, 2), and their labels."""
        return torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]]), torch.tensor([0, 1, 1, 0])
