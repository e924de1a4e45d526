"""How long a program takes for a batch."""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.analysis.export.programs import Program

# Samples in a batch, and how often a batch is timed.
BATCHES = {1: 2000, 256: 200}


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
