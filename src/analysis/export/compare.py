"""Whether an exported program answers as the model does."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.analysis.export.programs import Program

# One sample, an odd few, and as many as go through the network in an evaluation.
BATCH_SIZES = (1, 7, 2000)


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
