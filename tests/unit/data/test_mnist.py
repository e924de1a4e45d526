"""The classes of MNIST and its variants."""

import pytest
import torch

from src.data.mnist import KMNIST, MNIST, QMNIST, FashionMNIST
from src.data.module import TensorData
from src.errors import ConfigError


def test_every_data_set_names_as_many_classes_as_it_has():
    assert MNIST.class_names == QMNIST.class_names == tuple("0123456789")
    assert FashionMNIST.class_names[9] == "Ankle boot"
    assert KMNIST.class_names[:3] == ("o", "ki", "su")

    class Fewer(MNIST):
        classes = 2

    assert Fewer.class_names == ("0", "1")
    with pytest.raises(TypeError, match="2 classes and 3 class_names"):

        class Wrong(TensorData):
            classes = 2
            class_names = ("a", "b", "c")


def test_some_of_the_classes_are_numbered_in_the_order_in_which_they_are_listed():
    data = MNIST(only_classes=[7, 1], val_size=0)
    data.setup("fit")
    assert (data.classes, data.class_names) == (2, ("7", "1"))
    assert torch.bincount(data.train_set[1]).tolist() == [6265, 6742]
    assert data.test_set[1][:4].tolist() == [0, 1, 1, 1]  # it begins 7 2 1 0 4 1 4 9 5 9 0 6 9 0 1
    assert MNIST.classes == 10


def test_sizes_that_do_not_fit_the_chosen_classes_are_refused_before_they_are_loaded():
    assert torch.bincount(MNIST().load(train=True)[1]).tolist() == list(MNIST.class_sizes)
    assert {sum(kind.class_sizes) for kind in (MNIST, FashionMNIST, KMNIST, QMNIST)} == {60_000}
    MNIST(only_classes=[0, 1], val_size=12_664)
    with pytest.raises(ConfigError, match=r"data\.val_size=12665 leaves nothing to train on.* has 12,665 samples"):
        MNIST(only_classes=[0, 1], val_size=12_665)
    with pytest.raises(ConfigError, match=r"data\.train_size=3001 must be at most 3000"):
        KMNIST(only_classes=[2, 5], val_size=9_000, train_size=3_001)


@pytest.mark.parametrize("chosen", [[], [3], [3, 3], [3, 10], [-1, 3]])
def test_classes_that_do_not_exist_are_refused(chosen: list[int]):
    with pytest.raises(ConfigError, match=r"must name two classes or more, each once, from 0 to 9"):
        MNIST(only_classes=chosen)
