"""How an exported program compares with the model: its outputs, and the time it takes for a batch."""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.analysis.export.programs import Program

# One sample, an odd few, and as many as go through the network in an evaluation.
BATCH_SIZES = (1, 7, 2000)
# Samples in a batch, and how often a batch is timed.
BATCHES = {1: 2000, 256: 200}


class Comparison(NamedTuple):
    """How an exported program's answers compare with the model's.

    Attributes:
        samples: how many were shown to both.
        differ: for how many of them the program names another class, in batches of any of ``BATCH_SIZES``.
        largest: the largest difference between two probabilities.
        accuracy: the program's.
    """

    samples: int
    differ: int
    largest: float
    accuracy: float


def answers(program: Program, samples: NDArray[Any], batch_size: int) -> NDArray[np.float32]:
    """Probabilities of all samples, (n, classes), computed in batches."""
    return np.concatenate([program(samples[i : i + batch_size]) for i in range(0, len(samples), batch_size)])


def compare(program: Program, original: Program, samples: NDArray[Any], labels: NDArray[np.int64]) -> Comparison:
    """Show both all samples.

    Args:
        program: the exported one, run in batches of each of ``BATCH_SIZES``.
        original: the model.
        samples: raw, (n, *input_shape).
        labels: their classes, (n,).
    """
    expected = answers(original, samples, BATCH_SIZES[-1])
    differ, largest = np.zeros(len(samples), dtype=bool), 0.0
    for size in BATCH_SIZES:
        rows = np.arange(max(size, len(samples))) % len(samples)  # few samples are repeated to fill a batch
        found = answers(program, samples[rows], size)
        np.logical_or.at(differ, rows, found.argmax(1) != expected[rows].argmax(1))
        largest = float(np.maximum(largest, np.abs(found - expected[rows]).max()))  # keeps what is not a number
    accuracy = float((found[: len(samples)].argmax(1) == labels).mean())
    return Comparison(len(samples), int(differ.sum()), largest, accuracy)


class Latency(NamedTuple):
    """Milliseconds a batch: the median, and the 5th and the 95th percentile."""

    median: float
    low: float
    high: float


def latencies(programs: Sequence[Program], samples: NDArray[Any], batch_size: int) -> list[Latency]:
    """Time programs in turn, so that whatever else the machine does meets all of them.

    Args:
        programs: on as many threads as they were opened with.
        samples: raw, (n, *input_shape); repeated where they are fewer than a batch.
        batch_size: a key of ``BATCHES``.
    """
    batch = samples[np.arange(batch_size) % len(samples)]
    for program in programs:
        program(batch)  # the first call sets up its memory
    times = np.empty((len(programs), BATCHES[batch_size]))
    for column in range(times.shape[1]):
        for row, program in enumerate(programs):
            start = time.perf_counter()
            program(batch)
            times[row, column] = time.perf_counter() - start
    return [Latency(*(float(ms) for ms in np.percentile(row * 1000, (50, 5, 95)))) for row in times]
