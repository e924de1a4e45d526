"""The data set: whole, split by the seed, shuffled by (seed, epoch), each sample once an epoch on any number of ranks."""

import gzip
import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.data.chunks import ChunkLoader
from src.data.mnist import MNIST
from src.errors import DataError
from src.paths import ROOT
from src.randomness import AUGMENTATION, MODEL, epoch_order, split_order, step_seeds

RAW = ROOT / "data" / "MNIST" / "raw"
sizes = st.integers(1, 300)
seeds = st.integers(0, 2**32 - 1)


def loader(size: int, batch_size: int, steps: int, seed: int | None, rank: int = 0, world: int = 1) -> ChunkLoader:
    """A loader whose inputs are the samples' own numbers."""
    numbers = torch.arange(size)
    return ChunkLoader(
        numbers, numbers, batch_size=batch_size, steps_per_execution=steps, seed=seed, rank=rank, world=world
    )


@given(sizes, seeds, st.integers(0, 50))
def test_an_order_is_a_permutation_and_depends_on_seed_and_epoch_alone(size: int, seed: int, epoch: int):
    order = epoch_order(seed, epoch, size)
    torch.manual_seed(epoch)  # whatever else is drawn meanwhile
    assert torch.equal(order, epoch_order(seed, epoch, size))
    assert sorted(order.tolist()) == list(range(size))


def test_orders_of_other_epochs_seeds_and_the_split_differ():
    orders = [epoch_order(0, 0, 1000), epoch_order(0, 1, 1000), epoch_order(1, 0, 1000), split_order(0, 1000)]
    assert len({tuple(order.tolist()) for order in orders}) == 4


def test_step_seeds_differ_by_purpose_step_epoch_rank_and_seed():
    choices = itertools.product((MODEL, AUGMENTATION), (0, 1), (0, 1), (0, 1))
    drawn = [number for purpose, seed, epoch, rank in choices for number in step_seeds(purpose, seed, epoch, rank, 50)]
    assert len(set(drawn)) == 800


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


def archives(folder: Path) -> Path:
    """A data folder with the archives alone, nothing unpacked."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for archive in RAW.glob("*.gz"):
        shutil.copy(archive, raw)
    return raw


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


def test_many_processes_may_unpack_at_once_and_one_be_killed(tmp_path: Path):
    raw = archives(tmp_path)
    code = (
        "import sys; from pathlib import Path; from src.data.archives import unpack\n"
        "names = ['train-images-idx3-ubyte.gz', 't10k-images-idx3-ubyte.gz']\n"
        "unpack(Path(sys.argv[1]), [(n, m) for n, m in zip(names, sys.argv[2:])])"
    )
    md5s = ["f68b3c2dcbeaaa9fbdd348bbdeb94873", "9fb629c4189551a2d022fa330f9573f3"]
    starts = [subprocess.Popen([sys.executable, "-c", code, str(raw), *md5s], cwd=ROOT) for _ in range(6)]
    starts[0].kill()
    assert [start.wait(60) for start in starts[1:]] == [0] * 5
    starts[0].wait(60)
    for name in ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte"):
        assert (raw / name).read_bytes() == gzip.decompress((raw / f"{name}.gz").read_bytes())


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
