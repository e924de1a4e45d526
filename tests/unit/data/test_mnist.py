"""The class names of MNIST and its variants."""

import pytest

from src.data.mnist import KMNIST, MNIST, QMNIST, FashionMNIST
from src.data.module import TensorData


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
