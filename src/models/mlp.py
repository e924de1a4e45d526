"""Fully connected networks."""

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}
NORMS: dict[str, type[nn.Module]] = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}


class MLP(nn.Module):
    """A multilayer perceptron: linear layers with an activation, and normalisation and dropout if wanted, between them.

    Args:
        input_shape: shape of one sample; it is flattened.
        outputs: number of logits.
        hidden: width of each hidden layer; none makes a linear model.
        activation: one of ``ACTIVATIONS``.
        norm: one of ``NORMS``, before each activation; None for none.
        dropout: probability with which a hidden unit is left out of a step.
    """

    def __init__(
        self,
        *,
        input_shape: Sequence[int],
        outputs: int,
        hidden: Sequence[int] = (128, 64),
        activation: str = "relu",
        norm: str | None = None,
        dropout: float = 0.0,
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
