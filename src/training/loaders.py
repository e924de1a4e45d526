"""Deterministic iteration over ordinary DataLoaders, so that a run can be resumed within an epoch."""

import logging
import random
from collections.abc import Iterator
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy, Strategy
from torch.utils.data import DataLoader, IterableDataset

from src.data.chunks import ChunkLoader
from src.errors import UserError

log = logging.getLogger(__name__)


class SeededLoader:
    """Wraps a training loader: seeds every epoch and batch, and skips the batches that a resumed run has already used.

    All CPU generators are seeded with (seed, epoch) before the loader's iterator is created, from which shuffling samplers and
    worker processes derive their seeds, and with (seed, epoch, batch, rank) before every further batch, for random numbers
    that the data set draws in this process. Skipped batches are loaded and dropped, so that later batches are unchanged.

    Args:
        loader: any iterable over batches.
        trainer: provides the epoch and the number of its batches already used.
        seed: seed of the run.
    """

    def __init__(self, loader: Any, trainer: pl.Trainer, seed: int) -> None:
        self.loader, self.trainer, self.seed = loader, trainer, seed
        self._epoch_with_batches: int | None = None
        self._epoch, self._pass = -1, 0  # a loader may be iterated several times within an epoch of another one

    def __getattr__(self, name: str) -> Any:
        """Forward attributes that Lightning reads from a loader: sampler, data set and workers."""
        if name == "loader":  # not set yet during unpickling
            raise AttributeError(name)
        return getattr(self.loader, name)

    @property
    def worker_init_fn(self) -> Any:
        """Function called in each worker process; Lightning sets one that seeds it by rank."""
        return self.loader.worker_init_fn

    @worker_init_fn.setter
    def worker_init_fn(self, function: Any) -> None:
        self.loader.worker_init_fn = function

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        fit_loop = self.trainer.fit_loop
        # Not current_epoch, which still counts an epoch that has ended when a loader of unknown length is asked for its first batch.
        progress: Any = fit_loop.epoch_progress.current
        epoch, skipped = progress.processed, 0
        if epoch != self._epoch:
            self._epoch, self._pass = epoch, 0
            skipped = fit_loop.epoch_loop.batch_progress.current.ready if progress.started > epoch else 0
            if skipped and (reason := _why_not_exact(self.loader)):
                log.warning("the resumed run differs from an uninterrupted one: %s", reason)
        while True:
            number = 0
            for number, batch in enumerate(self._batches(epoch), 1):
                if number > skipped:
                    yield batch
            if not number and self._epoch_with_batches is not None:
                raise UserError(
                    f"the training data has no batch in epoch {epoch}, and had some in epoch {self._epoch_with_batches}: a "
                    f"{type(self.loader).__name__} that can be iterated once ends there; return a DataLoader from "
                    "train_dataloader(), or set trainer.max_epochs=1."
                )
            self._epoch_with_batches = epoch if number else None
            self._pass += 1
            skipped -= number
            if skipped < 0 or not number:
                return

    def _batches(self, epoch: int) -> Iterator[Any]:
        entropy = (self.seed, epoch, self._pass)
        _seed(*entropy)
        for generator in _generators(self.loader):
            generator.manual_seed(torch.initial_seed())
        batches, number = iter(self.loader), 0
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            yield batch
            number += 1
            _seed(*entropy, number, self.trainer.global_rank)

    def state_dict(self) -> dict[str, int]:
        """The epoch, and the number of its batches already trained on."""
        return {
            "epoch": self.trainer.current_epoch,
            "batch": self.trainer.fit_loop.epoch_loop.batch_progress.current.processed,  # type: ignore[attr-defined]
        }

    def load_state_dict(self, state: dict[str, int]) -> None:
        """No-op: Lightning restores both for its own loop, from which ``__iter__`` reads them."""


def _seed(*entropy: int) -> None:
    words = np.random.SeedSequence(entropy).generate_state(3, np.uint32)
    random.seed(int(words[0]))
    np.random.seed(int(words[1]))
    torch.default_generator.manual_seed(int(words[2]))


def _generators(loader: Any) -> set[torch.Generator]:
    """Generators owned by a loader, whose states would depend on how often they were used."""
    samplers = [getattr(loader, name, None) for name in ("sampler", "batch_sampler")]
    samplers += [getattr(sampler, "sampler", None) for sampler in samplers]
    found = (getattr(one, "generator", None) for one in (loader, *samplers))
    return {generator for generator in found if isinstance(generator, torch.Generator)}


def _why_not_exact(loader: Any) -> str | None:
    if not isinstance(loader, DataLoader):
        return f"a {type(loader).__name__} may depend on more than the seed"
    if loader.num_workers and loader.persistent_workers:
        return "workers that persist draw random numbers from one epoch to the next: leave out persistent_workers"
    return None


def undivided(trainer: pl.Trainer) -> list[str]:
    """Class names of training data sets that no sampler divides among the processes."""
    combined = trainer.fit_loop._combined_loader
    loaders = [
        one.loader for one in (combined.flattened if combined is not None else ()) if isinstance(one, SeededLoader)
    ]
    sources = [loader.dataset if isinstance(loader, DataLoader) else loader for loader in loaders]
    return [
        type(one).__name__ for one in sources if isinstance(one, IterableDataset) or not hasattr(one, "__getitem__")
    ]


class _SeedsLoaders(Strategy):
    """Wraps training loaders; evaluation loaders are passed whole to each rank."""

    seed: int = 0

    def process_dataloader(self, dataloader: object) -> object:
        """Wrap loaders that do not save their own position."""
        loader = super().process_dataloader(dataloader)
        trainer = self.lightning_module.trainer  # type: ignore[union-attr]
        keeps_position = isinstance(loader, ChunkLoader) or hasattr(loader, "load_state_dict")
        return SeededLoader(loader, trainer, self.seed) if trainer.training and not keeps_position else loader


class SingleDevice(_SeedsLoaders, SingleDeviceStrategy):
    """Training on one device."""


class DDP(_SeedsLoaders, DDPStrategy):
    """Data-parallel training: each rank trains on its share, and evaluates all samples."""

    @property
    def distributed_sampler_kwargs(self) -> dict[str, Any]:
        """Sampler of a single rank in an evaluation, so that no sample is omitted or repeated."""
        trainer = self.lightning_module.trainer  # type: ignore[union-attr]
        return super().distributed_sampler_kwargs if trainer.training else {"num_replicas": 1, "rank": 0}
