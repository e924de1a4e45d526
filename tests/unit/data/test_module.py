"""The data set: whole, split by the seed, shuffled by (seed, epoch), each sample once an epoch on any number of ranks."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.data.chunks import ChunkLoader
from src.data.mnist import MNIST
from src.data.module import TensorData
from src.errors import ConfigError, DataError
from tests.helpers.data import archives, seeds, sizes


def loader(size: int, batch_size: int, steps: int, seed: int | None, rank: int = 0, world: int = 1) -> ChunkLoader:
    """A loader whose inputs are the samples' own numbers."""
    numbers = torch.arange(size)
    return ChunkLoader(
        numbers, numbers, batch_size=batch_size, steps_per_execution=steps, seed=seed, rank=rank, world=world
    )


@settings(deadline=None)
@given(sizes, st.integers(1, 64), st.integers(1, 8), seeds, st.integers(1, 5))
def test_ranks_together_see_every_sample_once_an_epoch_in_the_same_batches(
    size: int, batch_size: int, steps: int, seed: int, world: int
):
    alone = list(loader(size, batch_size, steps, seed))
    ranks = [list(loader(size, batch_size, steps, seed, rank, world)) for rank in range(world)]
    for position, whole in enumerate(alone):
        parts = [chunks[position] for chunks in ranks]
        assert all(part.totals == whole.totals and part.first_step == whole.first_step for part in parts)
        split = [part.inputs.split(part.sizes) for part in parts]
        for step, batch in enumerate(whole.inputs.split(whole.sizes)):
            together = torch.cat([batches[step] for batches in split])
            assert sorted(together.tolist()) == sorted(batch.tolist())
    assert sorted(torch.cat([chunk.inputs for chunk in alone]).tolist()) == list(range(size))


@given(sizes, st.integers(1, 64), st.integers(1, 8))
def test_every_epoch_is_whole_and_shuffled_anew_though_no_item_is_asked_for_after_the_last(
    size: int, batch_size: int, steps: int
):
    chunks, orders = loader(size, batch_size, steps, 0), []
    for _ in range(3):
        iterator = iter(chunks)
        # As Lightning does with a loader of known length.
        orders.append(torch.cat([next(iterator).inputs for _ in range(len(chunks))]).tolist())
    assert all(sorted(order) == list(range(size)) for order in orders)
    assert chunks.epoch == 2
    if size > 20:
        assert orders[0] != orders[1] != orders[2]


@given(sizes, st.integers(1, 64), st.integers(1, 8), st.data())
def test_a_loader_goes_on_where_its_state_was_taken(size: int, batch_size: int, steps: int, data: st.DataObject):
    straight, cut = loader(size, batch_size, steps, 3), loader(size, batch_size, steps, 3)
    whole = [chunk.inputs.tolist() for _ in range(2) for chunk in straight]
    seen = []
    for _ in range(data.draw(st.integers(0, 1))):
        seen += [chunk.inputs.tolist() for chunk in cut]
    iterator = iter(cut)
    seen += [next(iterator).inputs.tolist() for _ in range(data.draw(st.integers(0, len(cut))))]
    resumed = loader(size, batch_size, steps, 3)
    resumed.load_state_dict(cut.state_dict())
    while len(seen) < len(whole):
        seen += [chunk.inputs.tolist() for chunk in resumed]
    assert seen == whole


def test_mnist_is_the_official_one_and_the_test_set_is_never_touched():
    data = MNIST(val_size=5000, seed=1)
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    assert data.train_set[0].shape == (55_000, 28, 28)
    assert data.train_set[0].dtype == torch.uint8
    assert data.val_set[0].shape == (5000, 28, 28)
    assert data.test_set[0].shape == (10_000, 28, 28)
    # The first digits of the official files.
    assert data.test_set[1][:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    digits = torch.bincount(torch.cat([data.train_set[1], data.val_set[1]])).tolist()
    assert digits == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


@pytest.mark.parametrize("val_size", [0, 1, 5000])
def test_the_split_follows_the_seed(val_size: int):
    def split(seed: int) -> list[int]:
        data = MNIST(val_size=val_size, train_size=100, seed=seed)
        data.setup("fit")
        assert len(data.val_set[1]) == val_size
        return data.train_set[1].tolist()

    assert split(0) == split(0) != split(1)


def test_a_truncated_unpacked_file_is_made_whole_again(tmp_path: Path):
    raw = archives(tmp_path)
    MNIST(dir=str(tmp_path)).prepare_data()
    broken = raw / "t10k-labels-idx1-ubyte"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:5000])
    MNIST(dir=str(tmp_path)).prepare_data()
    assert broken.read_bytes() == whole == gzip.decompress((raw / "t10k-labels-idx1-ubyte.gz").read_bytes())


def test_an_unpacked_file_of_another_data_set_is_replaced(tmp_path: Path):
    raw = archives(tmp_path)
    (raw / "train-labels-idx1-ubyte").write_bytes(b"\x00\x00\x08\x01\x00\x00\x00\x05" + b"\x01" * 5)
    MNIST(dir=str(tmp_path)).prepare_data()
    assert (raw / "train-labels-idx1-ubyte").stat().st_size == 60_008


@pytest.mark.parametrize("damage", ["missing", "truncated", "garbage"])
def test_a_damaged_archive_is_named_with_what_to_do(tmp_path: Path, damage: str):
    raw = archives(tmp_path)
    archive = raw / "train-labels-idx1-ubyte.gz"
    if damage == "missing":
        archive.unlink()
    else:
        archive.write_bytes(archive.read_bytes()[:1000] if damage == "truncated" else b"\x00" * 1000)
    with pytest.raises(
        DataError, match=rf"train-labels-idx1-ubyte.gz is {'missing' if damage == 'missing' else 'damaged'}"
    ):
        MNIST(dir=str(tmp_path)).prepare_data()
    assert not (raw / "train-labels-idx1-ubyte").exists()


def test_shards_of_an_uneven_set_count_each_sample_once():
    size = 9999
    for world in (2, 3):
        seen = [
            n
            for rank in range(world)
            for chunk in loader(size, 2000, 1, None, rank, world)
            for n in chunk.inputs.tolist()
        ]
        assert np.array_equal(np.sort(seen), np.arange(size))


# -- what a data set may load


class Tiny(TensorData):
    """Two hundred samples for training and fifty for the test; what is said of a part is changed in it."""

    input_shape = (3,)
    classes = 10

    def __init__(self, *, change: Callable[..., Any] | None = None, changed: bool = True, **settings: Any) -> None:
        super().__init__(**{"val_size": 20, **settings})
        self.change, self.changed = change, changed

    def load(self, train: bool) -> Any:
        size = 200 if train else 50
        inputs, labels = torch.rand(size, 3), torch.arange(size) % 10
        return self.change(inputs, labels) if self.change and train is self.changed else (inputs, labels)


def one(tensor: torch.Tensor, place: Any, value: float) -> torch.Tensor:
    changed = tensor.clone()
    changed[place] = value
    return changed


FAULTS: list[tuple[Callable[..., Any], str]] = [
    (lambda x, y: (x, one(y, 7, 10)), "the label of sample 7 is 10, and labels are whole numbers from 0 to 9"),
    (lambda x, y: (x, one(y, 7, -1)), "the label of sample 7 is -1"),
    (lambda x, y: (x, one(y.float(), 3, 2.5)), "the label of sample 3 is 2.5"),
    (lambda x, y: (x, one(y.float(), 3, torch.nan)), "the label of sample 3 is nan"),
    (lambda x, y: (x, y[:-1]), "do not fit"),
    (lambda x, y: (x, y.unsqueeze(1)), "each needs one label"),
    (lambda x, y: (x.unsqueeze(1), y), r"a sample is of shape \(1, 3\), and input_shape is \(3,\)"),
    (lambda x, y: (one(x, (5, 1), torch.nan), y), "1 of .* samples hold values that are NaN, .* the first .* sample 5"),
    (lambda x, y: (one(x, (6, 0), -torch.inf), y), "the first of them sample 6"),
    (lambda x, y: (one(x.double(), (6, 0), 1e39), y), "beyond float32's 3.4e\\+38, the first of them sample 6"),
    (lambda x, y: (x.to(torch.complex64), y), "complex"),
    (lambda x, y: (x.to_sparse(), y), "a tensor is sparse"),
    (lambda x, y: (x[:0], y[:0]), "no samples"),
    (lambda x, y: (x.numpy(), y), r"returned ndarray, Tensor: it must return two tensors"),
    (lambda x, y: x, r"returned Tensor: it must return two tensors"),
]


@pytest.mark.parametrize(("change", "message"), FAULTS)
def test_what_would_spoil_a_training_is_named_before_it_starts(change: Callable[..., Any], message: str):
    for stage, changed in (("fit", True), ("validate", True), ("fit", False), ("test", False)):
        part = "training" if changed else "test"
        with pytest.raises(DataError, match=f"^Tiny, {part} set: .*{message}"):
            Tiny(change=change, changed=changed).setup(stage)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.float32, torch.float64, torch.bool])
def test_whole_labels_of_any_type_become_int64(dtype: torch.dtype):
    data = Tiny(change=lambda x, y: (x, (y % 2).to(dtype)))
    data.setup("fit")
    _, labels = data.train_set
    assert labels.dtype == torch.int64
    assert set(labels.tolist()) == {0, 1}


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.bool, torch.float16, torch.float64])
def test_samples_of_any_real_type_are_left_as_they_are(dtype: torch.dtype):
    data = Tiny(change=lambda x, y: (x.to(dtype), y))
    data.setup("fit")
    assert data.train_set[0].dtype == dtype


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"val_size": 200},
            "data.val_size=200 leaves nothing to train on: the training set has 200 samples, so set 199",
        ),
        ({"val_size": 5000}, "set 199 at most"),
        ({"train_size": 181}, "data.train_size=181 must be at most 180: of 200 samples data.val_size=20 are held out"),
    ],
)
def test_sizes_that_leave_a_set_empty_or_short_are_refused(settings: dict[str, int], message: str):
    with pytest.raises(ConfigError, match=message):
        Tiny(**settings).setup("fit")
    for fitting in ({"val_size": 0}, {"val_size": 199}, {"train_size": 180}):
        Tiny(**fitting).setup("fit")


@pytest.mark.parametrize("std", [0.0, -1.0, torch.inf, torch.nan])
def test_a_deviation_that_is_not_positive_is_refused(std: float):
    with pytest.raises(ConfigError, match=r"data\.std="):
        Tiny(std=std)


def test_samples_that_are_no_images_are_not_augmented():
    with pytest.raises(ConfigError, match=r"data\.augment changes images .* shape \(3,\)"):
        Tiny(augment={"shift": 1.0})
    assert Tiny(augment={"shift": 0.0}).augmentation is None
