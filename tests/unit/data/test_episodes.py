"""Few-shot episodes: their classes and samples, as a function of seed, stage and epoch, on any number of ranks."""

from typing import Any

import pytest
import torch
from torch import Tensor

from src.data.episodes import Episode, EpisodeLoader, with_rotations


def numbered(size: int, classes: int, first: int = 0) -> tuple[Tensor, Tensor]:
    """Samples that are their own numbers, of each class in turn."""
    return torch.arange(first, first + size), torch.arange(size) % classes


TRAINING, TEST = numbered(60, 5), numbered(40, 5, first=100)


def loader(queries: tuple[Tensor, Tensor] | None = None, **settings: Any) -> EpisodeLoader:
    defaults = {"classes": (0, 2, 3), "episode": Episode(2, 3, 4), "episodes": 20, "stage": "train", "seed": 0}
    return EpisodeLoader(TRAINING, queries, **{**defaults, **settings})


def epoch(episodes: EpisodeLoader) -> Tensor:
    """The samples of all episodes, (episodes, samples)."""
    return torch.stack([chunk.inputs for chunk in episodes])


@pytest.mark.parametrize("queries", [None, TEST])
def test_an_episode_has_support_and_query_samples_of_some_classes(queries: tuple[Tensor, Tensor] | None):
    found = set[tuple[int, ...]]()
    for chunk in loader(queries):
        support, query = chunk.inputs.split([6, 8])
        classes = support[::3] % 5
        found.add(tuple(classes.tolist()))
        assert torch.equal(support % 5, classes.repeat_interleave(3))
        assert torch.equal(query % 5, classes.repeat_interleave(4))
        assert len(chunk.inputs.unique()) == 14 == chunk.totals[0]
        assert bool((support < 100).all() and ((query < 100) == (queries is None)).all())
        assert chunk.labels.tolist() == [0] * 3 + [1] * 3 + [0] * 4 + [1] * 4
    assert found == {(0, 2), (2, 0), (0, 3), (3, 0), (2, 3), (3, 2)}  # every order, so that no position is a class


def test_training_episodes_differ_between_epochs_and_test_episodes_do_not():
    training, test = loader(), loader(TEST, stage="test")
    first = epoch(training)
    assert not torch.equal(first, epoch(training))
    assert torch.equal(first, epoch(loader()))
    assert not torch.equal(first, epoch(loader(seed=1)))
    once = epoch(test)
    assert torch.equal(once, epoch(test))
    assert not torch.equal(once, epoch(loader(TEST, stage="val")))


def test_a_loader_resumes_within_an_epoch():
    whole = [epoch(one) for one in [loader()] for _ in range(2)][1]
    cut = loader()
    cut.load_state_dict({"epoch": 1, "position": 7})
    assert torch.equal(epoch(cut), whole[7:])


@pytest.mark.parametrize("world", [2, 3])
def test_every_rank_has_all_support_samples_and_its_share_of_the_queries(world: int):
    ranks = [loader(TEST, stage="test", rank=rank, world=world) for rank in range(world)]
    for whole, *parts in zip(loader(TEST, stage="test"), *ranks, strict=True):
        assert all(torch.equal(part.inputs[:6], whole.inputs[:6]) and part.totals == [14] for part in parts)
        for rank, part in enumerate(parts):
            assert torch.equal(part.inputs[6:], whole.inputs[6:][rank::world])
            assert torch.equal(part.labels[6:], whole.labels[6:][rank::world])
            assert part.sizes == [len(part.labels)]


@pytest.mark.parametrize("shape", [(4, 4), (3, 4, 4)])
def test_each_rotation_of_a_class_is_a_class_of_its_own(shape: tuple[int, ...]):
    images, labels = torch.randint(0, 256, (6, *shape), dtype=torch.uint8), torch.arange(6) % 3
    turned, classes = with_rotations(images, labels, 3)
    assert classes.tolist() == [
        *labels.tolist(),
        *(labels + 3).tolist(),
        *(labels + 6).tolist(),
        *(labels + 9).tolist(),
    ]
    for turns, expected in enumerate([images, images.transpose(-2, -1).flip(-2), images.flip(-2, -1)]):
        assert torch.equal(turned[turns * 6 : turns * 6 + 6], expected)
    assert torch.equal(turned[18:], images.transpose(-2, -1).flip(-1))
