"""Data loader that yields several batches at once, by indexing tensors on the device."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.utils._pytree import tree_iter

from src.randomness import epoch_order, poisson_sample


class Chunk(NamedTuple):
    """This rank's part of several consecutive batches.

    Attributes:
        inputs: samples of all batches, (samples, *shape); raw from the loader, then normalised on the device.
        labels: int64, (samples,).
        sizes: number of samples of this rank in each batch; their sum is ``samples``.
        totals: number of samples of all ranks in each batch.
        first_step: number of the first batch within its epoch.
    """

    inputs: Tensor
    labels: Tensor
    sizes: list[int]
    totals: list[int]
    first_step: int


def as_chunk(batch: "Chunk | tuple[Tensor, Tensor]", batch_idx: int, loader: "ChunkLoader") -> Chunk:
    """Convert a batch of ``loader`` to a chunk, if it is not one."""
    if isinstance(batch, Chunk):
        return batch
    inputs, labels = batch
    return Chunk(inputs, labels, [len(labels)], [loader.samples_in(batch_idx)], batch_idx)


def samples_in(batch: Any, batch_idx: int, trainer: pl.Trainer) -> int:
    """The number of samples of all ranks in a training batch; 0 if it cannot be determined.

    For a batch of an ordinary loader it is the size of the first dimension of its first tensor, times the number of ranks.
    """
    if isinstance(loader := trainer.train_dataloader, ChunkLoader):
        return sum(as_chunk(batch, batch_idx, loader).totals)
    tensors = (one for one in tree_iter(batch) if isinstance(one, Tensor) and one.ndim)
    return len(next(tensors, ())) * trainer.world_size


class ChunkLoader:
    """Iterates over chunks of ``steps_per_execution`` batches of ``batch_size`` samples over all ranks.

    Every rank takes each ``world``-th sample of the same global batch, so that the batches and their order do not depend on the
    number of devices. The last batch of an epoch may be smaller and is never padded.

    Args:
        inputs: all samples, on the device, (size, *shape).
        labels: int64, (size,).
        batch_size: samples per batch, over all ranks.
        steps_per_execution: batches per chunk.
        seed: seed of the shuffling, together with the epoch; None does not shuffle.
        rank: rank of this process among ``world``.
        world: number of processes.
    """

    def __init__(
        self,
        inputs: Tensor,
        labels: Tensor,
        *,
        batch_size: int,
        steps_per_execution: int = 1,
        seed: int | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.inputs, self.labels = inputs, labels
        self.batch_size, self.steps_per_execution = batch_size, steps_per_execution
        self.seed, self.rank, self.world = seed, rank, world
        self.epoch, self.position = 0, 0

    @property
    def steps(self) -> int:
        """Number of batches in an epoch."""
        return math.ceil(len(self.labels) / self.batch_size)

    def samples_in(self, step: int) -> int:
        """Number of samples of a batch over all ranks; the last batch of an epoch may be smaller."""
        return min(self.batch_size, len(self.labels) - step * self.batch_size)

    def __len__(self) -> int:
        return math.ceil(self.steps / self.steps_per_execution)

    def __iter__(self) -> Iterator[Chunk]:
        # Lightning does not request an item after the last one from a loader of known length, so code after the last yield
        # would not run: the epoch is advanced here.
        if self.position >= len(self):
            self.epoch, self.position = self.epoch + 1, 0
        order = self._order()
        while self.position < len(self):
            chunk = self._chunk(order, self.position)
            self.position += 1
            yield chunk

    def _order(self) -> Tensor:
        size = len(self.labels)
        order = torch.arange(size) if self.seed is None else epoch_order(self.seed, self.epoch, size)
        return order.to(self.labels.device)

    def _chunk(self, order: Tensor, position: int) -> Chunk:
        first = position * self.steps_per_execution
        start = first * self.batch_size
        samples = order[start : start + self.steps_per_execution * self.batch_size]
        batches = samples.split(self.batch_size)
        totals = [len(batch) for batch in batches]
        if self.world > 1:
            batches = [batch[self.rank :: self.world] for batch in batches]
            samples = torch.cat(batches)
        sizes = [len(batch) for batch in batches]
        return Chunk(self.inputs.index_select(0, samples), self.labels.index_select(0, samples), sizes, totals, first)

    def state_dict(self) -> dict[str, Any]:
        """Position of the loader: the epoch, and the number of its chunks already yielded."""
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the position saved by ``state_dict``."""
        self.epoch, self.position = state["epoch"], state["position"]


class PoissonLoader(ChunkLoader):
    """Iterates over batches drawn by Poisson sampling, one in each chunk.

    Each sample is in a batch with probability ``batch_size / size``, independently of other samples and batches. Batches
    therefore differ in size and may be empty. An epoch has as many as without this sampling.

    Args:
        inputs: see ``ChunkLoader``.
        labels: see ``ChunkLoader``.
        key: a batch follows from it, the epoch and the step.
        batch_size: expected number of samples in a batch, over all ranks; at most ``size``.
        rank: see ``ChunkLoader``.
        world: see ``ChunkLoader``.
    """

    def __init__(
        self, inputs: Tensor, labels: Tensor, *, key: int, batch_size: int, rank: int = 0, world: int = 1
    ) -> None:
        super().__init__(inputs, labels, batch_size=batch_size, rank=rank, world=world)
        self.key = key

    def samples_in(self, step: int) -> int:
        """Number of samples drawn for a batch of the current epoch, over all ranks."""
        return len(self._drawn(step))

    def _drawn(self, step: int) -> Tensor:
        size = len(self.labels)
        return poisson_sample(self.key, self.epoch, step, size, self.batch_size / size)

    def _chunk(self, order: Tensor, position: int) -> Chunk:
        drawn = self._drawn(position)
        samples = drawn[self.rank :: self.world].to(self.labels.device)
        inputs, labels = self.inputs.index_select(0, samples), self.labels.index_select(0, samples)
        return Chunk(inputs, labels, [len(samples)], [len(drawn)], position)
