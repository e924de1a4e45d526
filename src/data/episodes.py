"""Data loader of few-shot episodes: small classification problems drawn from the classes of a data set."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from src.data.chunks import Chunk, ChunkLoader
from src.randomness import episode_generator


class Episode(NamedTuple):
    """Size of an episode: the number of classes, and of the support and query samples of each."""

    ways: int
    shots: int
    queries: int


class EpisodeLoader(ChunkLoader):
    """Iterates over episodes, each a batch: all support samples, then the queries, both ordered by class.

    The labels are the positions of the classes in the episode, from 0 to ways - 1. Every rank gets all support samples and each
    ``world``-th query.

    Args:
        support: samples (n, *shape) and labels (n,) from which support samples are drawn without replacement.
        query: samples and labels from which queries are drawn without replacement; None draws them from ``support``, such that no
            sample is both.
        classes: labels to draw from. There must be enough of them, each with enough samples.
        episode: size of an episode.
        episodes: number of episodes per epoch.
        stage: ``train``, ``val`` or ``test``. Training episodes differ between epochs, the others do not.
        seed: seed of the episodes, together with the stage and the epoch.
        rank: rank of this process among ``world``.
        world: number of processes.
    """

    def __init__(
        self,
        support: tuple[Tensor, Tensor],
        query: tuple[Tensor, Tensor] | None = None,
        *,
        classes: Sequence[int],
        episode: Episode,
        episodes: int,
        stage: str,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        size = episode.ways * (episode.shots + episode.queries)
        super().__init__(*support, batch_size=size, seed=seed, rank=rank, world=world)
        self.query_inputs = self.inputs if query is None else query[0]
        self.episode, self.episodes, self.stage = episode, episodes, stage
        self._support_of = _indices_of(classes, support[1])
        self._queries_of = None if query is None else _indices_of(classes, query[1])

    @property
    def steps(self) -> int:
        """Number of episodes in an epoch."""
        return self.episodes

    def samples_in(self, step: int) -> int:
        """Number of support and query samples of an episode over all ranks."""
        return self.batch_size

    def _order(self) -> Tensor:
        """Indices of the samples of all episodes, support first: (episodes, ways, shots + queries)."""
        assert self.seed is not None
        generator = episode_generator(self.seed, self.stage, self.epoch if self.stage == "train" else 0)

        ways, shots, queries = self.episode

        def draw(samples: Tensor, count: int) -> Tensor:
            return samples[torch.randperm(len(samples), generator=generator)[:count]]

        def draw_class(number: int) -> Tensor:
            support = self._support_of[number]
            if self._queries_of is None:
                return draw(support, shots + queries)
            return torch.cat([draw(support, shots), draw(self._queries_of[number], queries)])

        classes = torch.arange(len(self._support_of))
        drawn = [torch.stack([draw_class(one) for one in draw(classes, ways)]) for _ in range(self.episodes)]
        return torch.stack(drawn).to(self.labels.device)

    def _chunk(self, order: Tensor, position: int) -> Chunk:
        ways, shots, queries = self.episode
        support, query = (part.flatten() for part in order[position].split([shots, queries], 1))
        positions = torch.arange(ways, device=order.device)
        mine = slice(self.rank, None, self.world)
        inputs = torch.cat([self.inputs.index_select(0, support), self.query_inputs.index_select(0, query[mine])])
        labels = torch.cat([positions.repeat_interleave(shots), positions.repeat_interleave(queries)[mine]])
        return Chunk(inputs, labels, [len(labels)], [self.batch_size], position)


def _indices_of(classes: Sequence[int], labels: Tensor) -> list[Tensor]:
    """Indices of the samples of each of these classes, on the CPU."""
    return [(labels.cpu() == one).nonzero().squeeze(1) for one in classes]


def with_rotations(images: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Add square images rotated by 90, 180 and 270 degrees as further classes (Santoro et al. 2016, https://arxiv.org/abs/1605.06065).

    Args:
        images: images (n, ..., size, size).
        labels: their classes (n,), below ``classes``.
        classes: number of classes.

    Returns:
        Images (4n, ..., size, size) and labels (4n,), of which those of k quarter turns are ``labels + k * classes``.
    """
    turned = [images.rot90(turns, (-2, -1)) for turns in range(4)]
    return torch.cat(turned), torch.cat([labels + turns * classes for turns in range(4)])
