"""Image files as MNIST's own images look."""

import io

import numpy as np
import pytest
from PIL import Image

from src.analysis.image_files import read_picture
from src.data.mnist import MNIST
from src.errors import DataError


def test_none_of_mnists_own_pictures_is_turned_round_and_each_that_is_inverted_is():
    images = MNIST(val_size=0).load(train=False)[0][:500]
    for image in images:
        for given in (image.numpy(), 255 - image.numpy()):
            file = io.BytesIO()
            Image.fromarray(given).save(file, "PNG")
            assert (read_picture(file.getvalue(), "it") == image.numpy()).all()


@pytest.mark.parametrize("size", [(1, 40), (40, 1), (5, 5), (29, 28), (3000, 40), (700, 1300)])
def test_a_picture_of_any_size_becomes_28_by_28_with_its_proportions_and_its_mass_in_the_middle(size: tuple[int, int]):
    width, height = size
    grey = np.zeros((height, width), dtype=np.uint8)
    grey[height // 4 : height // 4 + -(-height // 2), width // 4 : width // 4 + -(-width // 2)] = 200
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "PNG")
    found = read_picture(file.getvalue(), "it")
    assert (found.shape, found.dtype, found.max()) == ((28, 28), np.uint8, 255)
    sides = [-(-side // 2) for side in (height, width)]
    for axis, side in enumerate(sides):
        there = np.flatnonzero(found.any(1 - axis))
        assert abs(len(there) - max(1, 20 * side / max(sides))) <= 1
        assert abs((there[0] + there[-1]) / 2 - 14) <= 0.5


def test_a_blank_picture_is_refused_at_28_by_28_too():
    file = io.BytesIO()
    Image.new("RGBA", (28, 28)).save(file, "PNG")
    with pytest.raises(DataError, match="is blank"):
        read_picture(file.getvalue(), "it")
