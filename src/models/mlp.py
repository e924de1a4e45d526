"""Fully connected networks."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal

from torch import Tensor, nn

from src.bounds import Bounds, FractionBelowOne

Width = Annotated[int, Bounds(ge=1, le=1_000_000)]

Activation = Literal["relu", "sigmoid", "tanh", "gelu", "silu"]
Norm = Literal["batch", "layer"]

ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}
NORMS: dict[Norm, type[nn.Module]] = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}


class MLP(nn.Module):
    """Multilayer perceptron: linear layers with an activation, and optionally normalisation and dropout, between them.

    Args:
        input_shape: shape of one sample; it is flattened.
        outputs: number of logits.
    """

    def __init__(
        self,
        *,
        input_shape: Sequence[int],
        outputs: int,
        hidden: Annotated[Sequence[Width], "width of each hidden layer; none for a linear model"] = (128, 64),
        activation: Annotated[Activation, "activation function of the hidden layers"] = "relu",
        norm: Annotated[Norm | None, "normalization before each activation"] = None,
        dropout: Annotated[FractionBelowOne, "probability of zeroing a hidden unit during training"] = 0.0,
    ) -> None:
        super().__init__()
        widths = [math.prod(input_shape), *hidden]
        layers: list[nn.Module] = []
        for width_in, width_out in pairwise(widths):
            layers.append(nn.Linear(width_in, width_out))
            if norm is not None:
                layers.append(NORMS[norm](width_out))
            layers.append(ACTIVATIONS[activation]())
            if dropout:
                layers.append(nn.Dropout(dropout))
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map samples (n, *input_shape) to logits (n, outputs)."""
        return self.layers(x.flatten(1))
