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

from src.data.chunks import ChunkLoader, PoissonLoader
from src.data.mnist import MNIST
from src.data.module import TensorData
from src.data.normalize import Normalize
from src.data.split import hold_out, hold_out_fold
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


def poisson(size: int, batch_size: int, key: int = 0, rank: int = 0, world: int = 1) -> PoissonLoader:
    numbers = torch.arange(size)
    return PoissonLoader(numbers, numbers, key=key, batch_size=batch_size, rank=rank, world=world)


def test_poisson_sampling_draws_each_sample_with_the_same_probability_in_every_batch():
    batches = [chunk.inputs for epoch in range(40) for chunk in poisson(500, 25, key=epoch)]
    assert len(batches) == 40 * 20
    drawn = torch.stack([torch.bincount(batch, minlength=500) for batch in batches]).double()
    assert drawn.max() == 1  # without replacement within a batch
    # Binomial counts, within five standard deviations.
    assert drawn.mean() == pytest.approx(0.05, abs=5 * (0.05 * 0.95 / drawn.numel()) ** 0.5)
    assert (drawn.sum(0) - 40).abs().max() < 5 * (800 * 0.05 * 0.95) ** 0.5
    sizes = drawn.sum(1)
    assert sizes.var().item() == pytest.approx(
        500 * 0.05 * 0.95, rel=0.25
    )  # that of independent draws; 0 of fixed batches
    assert torch.corrcoef(drawn[:, :20].T).fill_diagonal_(0).abs().max() < 5 / 800**0.5


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_the_batches_of_poisson_sampling_which_follow_from_epoch_and_step(world: int):
    alone, ranks = poisson(100, 3), [poisson(100, 3, rank=rank, world=world) for rank in range(world)]
    whole = [[*alone], [*alone]]
    assert any(not len(chunk.inputs) for chunk in whole[0])
    for epoch in whole:
        for step, (chunk, *parts) in enumerate(zip(epoch, *ranks, strict=True)):
            assert sorted(torch.cat([part.inputs for part in parts]).tolist()) == chunk.inputs.tolist()
            assert {part.totals[0] for part in parts} == {len(chunk.inputs)} == {ranks[0].samples_in(step)}
    assert [chunk.inputs.tolist() for chunk in whole[0]] != [chunk.inputs.tolist() for chunk in whole[1]]
    resumed = poisson(100, 3)
    resumed.load_state_dict({"epoch": 1, "position": 30})
    assert [chunk.inputs.tolist() for chunk in resumed] == [chunk.inputs.tolist() for chunk in whole[1][30:]]


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


# -- shapes, channels and kinds of labels


class Shaped(Tiny):
    """Samples of the shape and type that are set."""

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype = torch.uint8, **settings: Any) -> None:
        self.input_shape, self.dtype = shape, dtype
        super().__init__(**settings)

    def load(self, train: bool) -> Any:
        size = 200 if train else 50
        inputs = torch.randint(256, (size, *self.input_shape), generator=torch.Generator().manual_seed(size))
        return inputs.to(self.dtype), torch.arange(size) % 10


@pytest.mark.parametrize("shape", [(4,), (3, 8, 8), (1, 8, 8)])
def test_mean_and_std_may_be_one_number_per_channel(shape: tuple[int, ...]):
    channels = shape[0]
    mean, std = [10.0, 20.0, 30.0, 40.0][:channels], [1.0, 2.0, 4.0, 8.0][:channels]
    data = Shaped(shape, mean=mean, std=std)
    data.setup("fit")
    raw = data.train_set[0]
    found = data.normalize(raw)
    for channel in range(channels):
        expected = (raw[:, channel].float() - mean[channel]) / std[channel]
        assert torch.equal(found[:, channel], expected)
    assert torch.allclose(data.normalize.inverse(found), raw.float(), atol=1e-4)
    assert data.normalize(raw, torch.float64).dtype == torch.float64


@pytest.mark.parametrize("shape", [(3, 8, 8), (8, 8), (2,)])
def test_lists_of_means_that_do_not_fit_the_samples_are_refused(shape: tuple[int, ...]):
    with pytest.raises(ConfigError, match=rf"data.mean has 4 values and a sample is of shape \({shape[0]},"):
        Shaped(shape, mean=[1.0, 2.0, 3.0, 4.0])
    with pytest.raises(ConfigError, match=r"data.std=\[1.0, 0.0, 1.0\] must be above 0"):
        Shaped((3, 8, 8), std=[1.0, 0.0, 1.0])


def test_one_number_normalises_to_the_bit_as_the_formula():
    data = Shaped((28, 28), mean=127.5, std=127.5)
    data.setup("fit")
    raw = data.train_set[0]
    assert torch.equal(data.normalize(raw), raw.float().sub(127.5).div(127.5))


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_tokens_stay_integers_unless_they_are_normalised(dtype: torch.dtype):
    data = Shaped((16,), dtype)
    data.setup("fit")
    tokens = data.normalize(data.train_set[0])
    assert tokens.dtype == data.normalize.inverse(tokens).dtype == dtype
    assert Shaped((16,), dtype, std=255.0).normalize(data.train_set[0]).dtype == torch.float32
    assert Normalize(0.0, 1.0)(torch.zeros(2, 3, dtype=torch.uint8)).dtype == torch.float32


@pytest.mark.parametrize("shape", [(8, 8), (1, 8, 8), (3, 8, 8)])
def test_images_of_every_shape_are_augmented(shape: tuple[int, ...]):
    assert Shaped(shape, augment={"shift": 1.0}).augmentation


@pytest.mark.parametrize("shape", [(8,), (2, 8, 8), (1, 1, 8, 8)])
def test_other_shapes_are_not(shape: tuple[int, ...]):
    with pytest.raises(ConfigError, match=r"data\.augment changes images"):
        Shaped(shape, augment={"shift": 1.0})


class Values(Tiny):
    """Three numbers to predict for each sample."""

    classes = None
    targets = 3

    def load(self, train: bool) -> Any:
        size = 200 if train else 50
        inputs, labels = torch.rand(size, 3), torch.rand(size, 3, dtype=torch.float64)
        return self.change(inputs, labels) if self.change and train is self.changed else (inputs, labels)


class Labels(Values):
    """Each sample belongs to any number of three classes."""

    classes = 3
    multilabel = True


class Single(Values):
    """One number to predict."""

    targets = 1
    target_names = ("price",)


def test_labels_of_regression_are_float32_of_one_column_per_target():
    data = Values()
    data.setup("fit")
    assert data.train_set[1].shape == (180, 3)
    assert data.val_set[1].dtype == torch.float32
    assert data.target_names == ("0", "1", "2")
    for labels in (lambda y: y[:, 0], lambda y: y[:, :1], lambda y: (10 * y[:, 0]).long()):
        single = Single(change=lambda x, y, labels=labels: (x, labels(y)))
        single.setup("validate")
        assert single.train_set[1].shape == (180, 1)
        assert single.train_set[1].dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x, y[:, :2]), r"labels of shape \(200, 2\) do not fit 200 samples: each needs 3 values"),
        (lambda x, y: (x, y[:, 0]), "each needs 3 values, shape \\(200, 3\\)"),
        (
            lambda x, y: (x, one(y, (4, 1), torch.nan)),
            "1 of 200 labels hold values that are NaN, .* the first of them sample 4",
        ),
        (lambda x, y: (x, one(y, (9, 0), 1e39)), "beyond float32's .* sample 9"),
    ],
)
def test_labels_of_regression_are_checked(change: Callable[..., Any], message: str):
    with pytest.raises(DataError, match=f"Values, training set: .*{message}"):
        Values(change=change).setup("fit")


def test_labels_of_several_classes_each_are_zeros_and_ones():
    data = Labels(change=lambda x, y: (x, y > 0.5))
    data.setup("validate")
    assert data.train_set[1].shape == (180, 3)
    assert data.train_set[1].dtype == torch.float32
    assert set(data.train_set[1].unique().tolist()) == {0.0, 1.0}
    with pytest.raises(DataError, match=r"the label of sample 0 for class 0 is 0.*must be 1 if the sample belongs"):
        Labels().setup("fit")


def test_a_class_that_declares_no_number_of_classes_or_targets_is_refused():
    class Nothing(TensorData):
        input_shape = (3,)

    with pytest.raises(ConfigError, match="the class must define classes, load"):
        Nothing()

    class Regression(TensorData):
        input_shape = (3,)
        classes = None

    with pytest.raises(ConfigError, match="the class must define targets, load"):
        Regression()
    with pytest.raises(TypeError, match="targets=0 must be an integer of at least 1"):

        class Zero(TensorData):
            targets = 0

    with pytest.raises(TypeError, match="2 targets and 1 target_names"):

        class Wrong(TensorData):
            targets = 2
            target_names = ("a",)


# -- fractions, proportions and folds


def test_a_part_is_held_out_as_a_fraction_and_in_proportion_to_the_classes():
    class Uneven(Tiny):
        stratified = True

        def load(self, train: bool) -> Any:
            return torch.rand(100, 3), torch.tensor([0] * 70 + [1] * 20 + [2] * 10)

    data = Uneven(val_size=0.2, seed=3)
    data.setup("fit")
    assert torch.bincount(data.val_set[1]).tolist() == [14, 4, 2]
    assert torch.bincount(data.train_set[1]).tolist() == [56, 16, 8]
    with pytest.raises(ConfigError, match=r"must be at most 80: of 100 samples data.val_size=0.2 are held out"):
        Uneven(val_size=0.2, train_size=81).setup("fit")


class Numbered(Tiny):
    """200 samples, each its own number, of classes of 140, 40 and 20."""

    input_shape, classes = (), 3

    def load(self, train: bool) -> Any:
        return torch.arange(200.0), torch.tensor([0] * 140 + [1] * 40 + [2] * 20)


def test_a_number_of_training_samples_per_class_is_chosen_by_the_seed_outside_the_validation_set():
    def samples(count: int | None, seed: int = 0, **settings: Any) -> set[float]:
        data = Numbered(per_class=count, seed=seed, **settings)
        data.setup("fit")
        if count:
            assert torch.bincount(data.train_set[1]).tolist() == [count] * 3
        assert data.val_set[0].tolist() == whole[seed].val_set[0].tolist()
        return {*data.train_set[0].tolist()}

    whole = {seed: Numbered(seed=seed) for seed in (0, 1)}
    for data in whole.values():
        data.setup("fit")
    assert samples(5) == samples(5, batch_size=3) != samples(5, seed=1)
    assert samples(1) < samples(5) < samples(12) < samples(None) == {*whole[0].train_set[0].tolist()}


class Indicators(Tiny):
    multilabel = True


class Amounts(Tiny):
    classes, targets = None, 2


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (
            Numbered,
            {"per_class": 21, "val_size": 0},
            "data.per_class=21 must be at most 20, the number of samples of class '2' that are not held out",
        ),
        (Numbered, {"per_class": 5, "train_size": 9}, "data.per_class=5 and data.train_size=9 both limit the training"),
        (Indicators, {"per_class": 5}, "data.per_class=5: a sample may be of several classes: set data.train_size"),
        (Amounts, {"per_class": 5}, "data.per_class=5: the targets are numbers: set data.train_size instead"),
    ],
)
def test_numbers_per_class_that_there_are_not_are_refused(kind: type[TensorData], settings: Any, message: str):
    with pytest.raises(ConfigError, match=message):
        kind(**settings).setup("fit")


@given(sizes, st.integers(2, 7), seeds, st.booleans())
def test_folds_partition_the_samples_evenly_in_size_and_classes(size: int, folds: int, seed: int, classes: bool):
    labels = torch.arange(size) % 3 if classes else None
    folds = min(folds, max(2, size))
    parts = [hold_out_fold(seed, size, fold, folds, labels) for fold in range(folds)]
    assert sorted(torch.cat([held_out for held_out, _ in parts]).tolist()) == list(range(size))
    lengths = [len(held_out) for held_out, _ in parts]
    assert max(lengths) - min(lengths) <= 1
    for held_out, rest in parts:
        assert sorted([*held_out.tolist(), *rest.tolist()]) == list(range(size))
    if labels is not None:
        counts = torch.stack([torch.bincount(labels[held_out], minlength=3) for held_out, _ in parts])
        assert int((counts.amax(0) - counts.amin(0)).max()) <= 1


@pytest.mark.parametrize("size", [1, 2, 3, 11, 47, 120])
def test_what_is_held_out_in_proportion_is_what_is_asked_for(size: int):
    labels = torch.arange(size) % 4
    for count in range(size + 1):
        held_out, rest = hold_out(count, size, count, labels)
        assert len(held_out) == count
        assert sorted([*held_out.tolist(), *rest.tolist()]) == list(range(size))
        exact = torch.bincount(labels, minlength=4).double() * count / size
        assert ((torch.bincount(labels[held_out], minlength=4) - exact).abs() < 1).all()


def test_the_folds_of_a_data_set_depend_on_its_seed_alone():
    def held_out(fold: int, **settings: Any) -> list[float]:
        data = Shaped((3,), folds=4, fold=fold, **settings)
        data.setup("fit")
        assert len(data.val_set[1]) == 50
        assert len(data.train_set[1]) == settings.get("train_size", 150)
        return sorted(data.val_set[0].flatten().tolist())

    assert held_out(0, seed=1) == held_out(0, seed=1, batch_size=7, train_size=100) != held_out(0, seed=2)
    assert held_out(0) != held_out(1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"folds": 5}, "data.fold=null must be from 0 to 4 with data.folds=5; data.fold=all with -m trains each"),
        ({"folds": 5, "fold": 5}, "data.fold=5 must be from 0 to 4"),
        ({"fold": 1}, "data.fold=1 needs the number of folds: set data.folds"),
        ({"folds": 201, "fold": 0}, "data.folds=201 must be at most 200"),
        ({"folds": 4, "fold": 0, "train_size": 151}, "must be at most 150: of 200 samples a fold of data.folds=4"),
    ],
)
def test_folds_that_do_not_exist_are_refused(settings: dict[str, int], message: str):
    with pytest.raises(ConfigError, match=message):
        Tiny(**settings).setup("fit")
