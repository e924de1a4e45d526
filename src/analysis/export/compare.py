"""Comparison of an exported program with the model: outputs and latency."""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.analysis.export.programs import Program

# A single sample, a small odd number, and the batch size of an evaluation.
BATCH_SIZES = (1, 7, 2000)
# Batch size to the number of timed batches.
BATCHES = {1: 2000, 256: 200}


class Comparison(NamedTuple):
    """Differences between the predictions of an exported program and of the model.

    Attributes:
        samples: number of samples.
        differ: number of samples for which the predicted class differs, with any batch size of ``BATCH_SIZES``.
        largest: maximum absolute difference of the probabilities.
        accuracy: accuracy of the program.
    """

    samples: int
    differ: int
    largest: float
    accuracy: float


def answers(program: Program, samples: NDArray[Any], batch_size: int) -> NDArray[np.float32]:
    """Predict the probabilities of all samples, (n, classes), in batches."""
    return np.concatenate([program(samples[i : i + batch_size]) for i in range(0, len(samples), batch_size)])


def compare(program: Program, original: Program, samples: NDArray[Any], labels: NDArray[np.int64]) -> Comparison:
    """Compare the predictions for all samples.

    Args:
        program: the exported program, run with each batch size of ``BATCH_SIZES``.
        original: the model.
        samples: raw samples, (n, *input_shape).
        labels: true classes, (n,).
    """
    expected = answers(original, samples, BATCH_SIZES[-1])
    differ, largest = np.zeros(len(samples), dtype=bool), 0.0
    for size in BATCH_SIZES:
        rows = np.arange(max(size, len(samples))) % len(samples)  # repeats samples if they are fewer than a batch
        found = answers(program, samples[rows], size)
        np.logical_or.at(differ, rows, found.argmax(1) != expected[rows].argmax(1))
        largest = float(np.maximum(largest, np.abs(found - expected[rows]).max()))  # propagates NaN
    accuracy = float((found[: len(samples)].argmax(1) == labels).mean())
    return Comparison(len(samples), int(differ.sum()), largest, accuracy)


class Latency(NamedTuple):
    """Milliseconds per batch: the median, and the 5th and 95th percentiles."""

    median: float
    low: float
    high: float


def latencies(programs: Sequence[Program], samples: NDArray[Any], batch_size: int) -> list[Latency]:
    """Measure latencies, alternating between the programs so that other load on the machine affects all of them alike.

    Args:
        programs: the programs, which use the number of threads they were opened with.
        samples: raw samples, (n, *input_shape); repeated if they are fewer than a batch.
        batch_size: a key of ``BATCHES``.
    """
    batch = samples[np.arange(batch_size) % len(samples)]
    for program in programs:
        program(batch)  # the first call allocates memory
    times = np.empty((len(programs), BATCHES[batch_size]))
    for column in range(times.shape[1]):
        for row, program in enumerate(programs):
            start = time.perf_counter()
            program(batch)
            times[row, column] = time.perf_counter() - start
    return [Latency(*(float(ms) for ms in np.percentile(row * 1000, (50, 5, 95)))) for row in times]
