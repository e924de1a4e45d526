"""Image files as MNIST's own images look."""

import io

import numpy as np
import pytest
from PIL import Image

from src.analysis.image_files import read_image, read_picture
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


def as_png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("shape", [(3, 20, 30), (1, 20, 30), (20, 30)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1", "I;16", "CMYK"])
def test_an_image_of_any_mode_is_converted_to_the_channels_and_the_size_of_a_sample(shape: tuple[int, ...], mode: str):
    image = Image.new("L", (90, 60), 255)
    image.paste(0, (0, 0, 45, 60))
    image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
    file = io.BytesIO()
    image.save(file, "JPEG" if mode == "CMYK" else "PNG")
    found = read_image(file.getvalue(), "it", shape)
    assert (found.shape, found.dtype) == (shape, np.uint8)
    rows = found.reshape(-1, 20, 30)
    assert (rows[:, :, :14] < 10).all()
    assert (rows[:, :, 16:] > 245).all()


def test_colours_keep_their_channels_and_an_image_of_that_size_is_left_as_it_is():
    pixels = np.random.default_rng(0).integers(256, size=(20, 30, 3), dtype=np.uint8)
    found = read_image(as_png(Image.fromarray(pixels)), "it", (3, 20, 30))
    assert np.array_equal(found.transpose(1, 2, 0), pixels)
    assert read_image(as_png(Image.new("RGB", (5, 5), (1, 2, 3))), "it", (3, 2, 2))[:, 0, 0].tolist() == [1, 2, 3]


def test_one_channel_of_28_by_28_is_read_as_mnist_is():
    image = MNIST(val_size=0).load(train=False)[0][0].numpy()
    assert np.array_equal(read_image(as_png(Image.fromarray(255 - image)), "it", (1, 28, 28))[0], image)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"GIF89a", "it is (damaged|not a picture)"),
        (None, "it is damaged .its values have 32 bits"),
    ],
)
def test_what_is_not_an_image_is_named_for_every_shape(content: bytes | None, message: str):
    if content is None:
        file = io.BytesIO()
        Image.fromarray(np.ones((4, 4), dtype=np.float32)).save(file, "TIFF")
        content = file.getvalue()
    with pytest.raises(DataError, match=message):
        read_image(content, "it", (3, 8, 8))
