"""Corruptions of images."""

from collections.abc import Callable

import pytest
import torch

from src.analysis import corruptions
from tests.helpers.robustness import images

__all__ = ["images"]


@pytest.mark.parametrize(
    ("corrupt", "strength"),
    [
        (corruptions.noise, 0.1),
        (corruptions.blur, 1.0),
        (corruptions.rotation, 15.0),
        (corruptions.shift, 2.0),
        (corruptions.erased, 7.0),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_corrupted_images_are_images_and_the_originals_stay(images, corrupt: Callable[..., torch.Tensor], strength):
    inputs = images[0]
    before = inputs.clone()
    changed = corrupt(inputs, strength)
    assert (changed.shape, changed.dtype) == (inputs.shape, torch.uint8)
    assert torch.equal(inputs, before)
    assert not torch.equal(changed, inputs)


def test_what_moves_images_moves_them_as_far_as_it_says(images):
    inputs = images[0]
    moved = corruptions.shift(inputs, 2)
    assert torch.equal(moved[0::4, :, 2:], inputs[0::4, :, :-2])
    assert torch.equal(moved[1::4, :, :-2], inputs[1::4, :, 2:])
    assert torch.equal(moved[2::4, 2:], inputs[2::4, :-2])
    assert torch.equal(moved[3::4, :-2], inputs[3::4, 2:])
    assert torch.equal(corruptions.rotation(inputs, 90)[0::2], inputs[0::2].rot90(1, (1, 2)))
    assert torch.equal(corruptions.rotation(inputs, 90)[1::2], inputs[1::2].rot90(-1, (1, 2)))
    white = torch.full((20, 28, 28), 255, dtype=torch.uint8)
    assert ((corruptions.erased(white, 7) == 0).sum((1, 2)) == 49).all()


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 28, 28), (5, 5), (3, 9, 30)])
def test_images_of_every_shape_and_size_are_corrupted(shape: tuple[int, ...]):
    inputs = torch.randint(1, 256, (6, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for corrupt, strength in (
        (corruptions.noise, 0.1),
        (corruptions.blur, 2.0),
        (corruptions.rotation, 15.0),
        (corruptions.shift, 2.0),
        (corruptions.erased, 14.0),
    ):
        changed = corrupt(inputs, strength)
        assert (changed.shape, changed.dtype) == (inputs.shape, torch.uint8)
        assert not torch.equal(changed, inputs)


@pytest.mark.parametrize("channels", [1, 3])
def test_all_channels_are_corrupted_like_a_grey_image(images, channels: int):
    grey = images[0][:8]
    coloured = grey.unsqueeze(1).repeat(1, channels, 1, 1)
    for corrupt, strength in (
        (corruptions.blur, 1.0),
        (corruptions.rotation, 15.0),
        (corruptions.shift, 2.0),
        (corruptions.erased, 7.0),
    ):
        torch.manual_seed(0)
        expected = corrupt(grey, strength)
        torch.manual_seed(0)
        found = corrupt(coloured, strength)
        assert torch.equal(found, expected.unsqueeze(1).expand_as(found))
