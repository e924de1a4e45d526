"""The default network."""

import pytest
import torch
from torch import nn

from src.models.mlp import MLP


def test_the_default_network_is_784_128_64_10_with_109386_parameters():
    net = MLP(input_shape=(28, 28), outputs=10)
    assert [tuple(layer.weight.shape) for layer in net.layers if isinstance(layer, nn.Linear)] == [
        (128, 784),
        (64, 128),
        (10, 64),
    ]
    assert sum(parameter.numel() for parameter in net.parameters()) == 109_386
    assert net(torch.zeros(3, 28, 28)).shape == (3, 10)


@pytest.mark.parametrize("hidden", [[], [5], [7, 6, 5, 4]])
def test_widths_of_any_number(hidden: list[int]):
    net = MLP(input_shape=(2,), outputs=3, hidden=hidden, dropout=0.5)
    assert net(torch.zeros(1, 2)).shape == (1, 3)
    assert sum(isinstance(layer, nn.Dropout) for layer in net.layers) == len(hidden)
