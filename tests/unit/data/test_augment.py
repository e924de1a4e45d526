"""Augmentation, and MNIST's variants."""

from pathlib import Path

import numpy as np
import pytest
import torch

from src.data.augment import Augmentation
from src.data.mnist import KMNIST, MNIST, QMNIST, FashionMNIST
from src.data.points import Points
from src.models.mlp import MLP
from src.tasks.classification import Classifier
from tests.helpers.idx import small_images

# Losses


def test_one_step_of_the_articles_second_example_follows_the_chain_rule():
    """The gradients of x -> sigmoid -> sigmoid -> binary cross entropy, and one step of 0.1 down them, by hand."""
    data = Points(val_size=0)
    data.setup("fit")
    x, y = (tensor.numpy().astype(np.float64) for tensor in data.train_set)
    torch.manual_seed(0)
    net = MLP(input_shape=[2], outputs=1, hidden=[1], activation="sigmoid")
    model = Classifier(net=net, classes=2, loss="binary_cross_entropy").double()
    first, second = net.layers[0], net.layers[2]
    w1, b1 = first.weight.detach().numpy().copy(), first.bias.detach().numpy().copy()
    w2, b2 = second.weight.detach().numpy().copy(), second.bias.detach().numpy().copy()

    h = 1 / (1 + np.exp(-(x @ w1.T + b1)))  # (4, 1)
    p = 1 / (1 + np.exp(-(h @ w2.T + b2)))  # (4, 1)
    d_out = (p - y[:, None]) / len(y)  # cross entropy behind a sigmoid: the error itself
    d_hidden = d_out @ w2 * h * (1 - h)
    expected = {"w2": d_out.T @ h, "b2": d_out.sum(0), "w1": d_hidden.T @ x, "b1": d_hidden.sum(0)}

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    (model.loss(model(data.train_set[0].double()), data.train_set[1]) / len(y)).backward()
    found = {"w2": second.weight.grad, "b2": second.bias.grad, "w1": first.weight.grad, "b1": first.bias.grad}
    for name, gradient in expected.items():
        assert found[name].numpy() == pytest.approx(gradient, abs=1e-12)
    optimizer.step()
    assert first.weight.detach().numpy() == pytest.approx(w1 - 0.1 * expected["w1"], abs=1e-12)
    assert second.bias.detach().numpy() == pytest.approx(b2 - 0.1 * expected["b2"], abs=1e-12)


# Data


@pytest.mark.parametrize("kind", [FashionMNIST, KMNIST, QMNIST])
def test_the_other_data_sets_are_read_from_their_files(tmp_path: Path, kind: type[MNIST]):
    data = kind(dir=str(small_images(tmp_path, kind.__name__)), val_size=500, train_size=1000)
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    assert data.train_set[0].shape == (1000, 28, 28)
    assert data.train_set[0].dtype == torch.uint8
    assert data.train_set[1].dtype == torch.int64
    assert data.test_set[1].shape == (200,)
    label = int(data.test_set[1][0])
    assert (data.test_set[0][0][2 * label : 2 * label + 3] == 250).all()


# Augmentation


def digit() -> torch.Tensor:
    data = MNIST(val_size=0, train_size=4)
    data.setup("fit")
    return data.train_set[0]


def test_no_augmentation_is_no_change():
    images = digit()
    drawn = Augmentation().draw(4, images.device)
    assert torch.equal(Augmentation().apply(images, drawn), images.float())
    still = Augmentation(shift=1e-9)  # through the resampling
    assert torch.allclose(still.apply(images, drawn), images.float(), atol=1e-2)


def test_a_shift_moves_by_whole_pixels():
    images = digit()
    random = torch.full((4, 60), 0.5)
    random[:, 3], random[:, 4] = 1.0, 0.0  # the furthest across, the furthest the other way down
    moved = Augmentation(shift=2.0).apply(images, random)
    assert torch.allclose(moved[:, 2:, :-2], images.float()[:, :-2, 2:], atol=1e-2)


@pytest.mark.parametrize("name", ["shift", "rotation", "scale", "shear", "elastic", "erasing"])
def test_each_amount_changes_each_image_in_its_own_way_and_keeps_the_grey_values(name: str):
    images = digit()[:1].repeat(8, 1, 1)
    torch.manual_seed(0)
    augmentation = Augmentation(**{name: 0.9 if name == "erasing" else 0.3 if name == "scale" else 4.0})
    changed = augmentation.apply(images, augmentation.draw(8, images.device))
    assert changed.shape == images.shape
    assert changed.dtype == torch.float32
    assert len({tuple(image.flatten().tolist()) for image in changed}) >= 4
    assert 0 <= changed.min() <= changed.max() <= 255.01


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 28, 28)])
def test_all_channels_of_an_image_are_changed_like_a_grey_image(shape: tuple[int, ...]):
    images = digit()
    coloured = images.unsqueeze(1).expand(-1, *shape)
    augmentation = Augmentation(shift=3, rotation=20, scale=0.2, elastic=1, erasing=0.8)
    drawn = augmentation.draw(4, images.device)
    changed = augmentation.apply(coloured, drawn)
    assert changed.shape == (4, *shape)
    expected = augmentation.apply(images, drawn).unsqueeze(1)
    assert torch.allclose(changed, expected.expand(-1, *shape), atol=1e-3)
