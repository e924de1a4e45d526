"""The article's second example: four points of two numbers each, in two classes."""

from typing import Annotated, Any

import torch
from torch import Tensor

from src.bounds import Bounds
from src.data.module import TensorData


class Points(TensorData):
    """Inputs (1,0), (0,1), (1,1), (1,0) with labels 0, 1, 1, 0, as both training and test set."""

    input_shape = (2,)
    classes = 2

    def __init__(
        self,
        *,
        val_size: Annotated[int, Bounds(ge=0, lt=4), "training points of 4 held out for validation"] = 0,
        **settings: Any,
    ) -> None:
        super().__init__(val_size=val_size, **settings)

    def load(self, train: bool) -> tuple[Tensor, Tensor]:
        """The four points, float32 (4, 2), and their labels."""
        return torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]]), torch.tensor([0, 1, 1, 0])
