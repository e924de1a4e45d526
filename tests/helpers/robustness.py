"""What the tests of test_robustness.py share."""

import pytest
import torch

from src.data.mnist import MNIST


@pytest.fixture(scope="module")
def images() -> tuple[torch.Tensor, torch.Tensor]:
    data = MNIST()
    data.setup("test")
    inputs, labels = data.test_set
    return inputs[:300], labels[:300]


def random(images: torch.Tensor) -> torch.Tensor:
    return torch.rand(images.shape, generator=torch.Generator().manual_seed(0))
