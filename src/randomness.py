"""Every random choice as a function of (seed, epoch, step, rank).

Nothing depends on earlier draws, so a resumed run draws the same numbers as an uninterrupted one without any saved
generator state. Seeds are mixed by numpy's SeedSequence, which keeps neighbouring seeds independent.
"""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

# One random stream per purpose, so that the split differs from the order of the first epoch.
_SPLIT, _ORDER, MODEL, AUGMENTATION, ATTACK, CORRUPTION, _TEST_SPLIT, _POISSON, _NOISE, MEMBERS, _EPISODES = range(11)


def _generator(*entropy: int) -> torch.Generator:
    return torch.Generator().manual_seed(int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]))


def _permutation(entropy: tuple[int, ...], size: int) -> Tensor:
    return torch.randperm(size, generator=_generator(*entropy))


def split_order(seed: int, size: int, purpose: str = "validation") -> Tensor:
    """Order in which ``size`` samples are assigned to validation (or ``test``) and training: int64 of shape (size,)."""
    return _permutation((seed, _TEST_SPLIT if purpose == "test" else _SPLIT), size)


def epoch_order(seed: int, epoch: int, size: int) -> Tensor:
    """The order of samples in one epoch: a permutation of 0..size-1, int64 of shape (size,)."""
    return _permutation((seed, _ORDER, epoch), size)


def episode_generator(seed: int, stage: str, epoch: int) -> torch.Generator:
    """Generator of all few-shot episodes of a stage, ``train``, ``val`` or ``test``, in one epoch."""
    return _generator(seed, _EPISODES, ("train", "val", "test").index(stage), epoch)


@lru_cache(maxsize=2)  # a batch is drawn by the loader and counted by callbacks
def poisson_sample(key: int, epoch: int, step: int, size: int, probability: float) -> Tensor:
    """Indices of the samples in one batch, int64: each of 0..size-1 with this probability, independently of all others.

    The result must not be changed.
    """
    draws = np.random.default_rng((key, _POISSON, epoch, step)).random(size)
    return torch.from_numpy(np.flatnonzero(draws < probability))


def gaussian_noise(key: int, step: int, size: int) -> Tensor:
    """Standard normal noise of one optimizer step, float64 (size,).

    numpy's generator uses all bits of a 128-bit key; torch's on the CPU only 32.
    """
    return torch.from_numpy(np.random.default_rng((key, _NOISE, step)).standard_normal(size))


@lru_cache(maxsize=8)  # called once per chunk, with the same result for a whole epoch
def step_seeds(purpose: int, seed: int, epoch: int, rank: int, steps: int, block: int = 0) -> tuple[int, ...]:
    """One generator seed for each optimizer step of an epoch on one rank; ``purpose`` is one of those above.

    An epoch of unknown length has its steps in blocks.
    """
    entropy = (seed, purpose, epoch, rank, *([block] if block else []))
    states = np.random.SeedSequence(entropy).generate_state(steps, np.uint64)
    return tuple(int(state >> 1) for state in states)  # 63 bits: torch takes signed seeds


def seed_step(seed: int, device: torch.device) -> None:
    """Seed the generators that dropout, augmentation and corruptions draw from.

    ``torch.manual_seed`` seeds every backend, and on a CUDA build without a GPU it stores a stack trace of each call until
    CUDA is initialized: 50 times slower, and a memory leak.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
