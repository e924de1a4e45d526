"""What the tests of test_numerics.py share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

# Long enough for Adam's means of units that are never active to decay: 31 % of its state is subnormal then, unless flushed.
LONG = ["experiment=article", "model.hidden=[32]", "data.batch_size=4", "data.train_size=4800", "trainer.max_epochs=1"]


def clean(**values: str) -> dict[str, str]:
    """This environment without what ``src.numerics`` has set in it."""
    chosen = ("MKL_CBWR", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
    return {key: value for key, value in os.environ.items() if key not in chosen} | values


def subnormals(checkpoint: Path) -> tuple[int, int]:
    """How many of the numbers in the optimizer's state are subnormal, and how many there are."""
    states = torch.load(checkpoint, weights_only=True)["optimizer_states"][0]["state"].values()
    numbers = torch.cat([state[name].flatten() for state in states for name in ("exp_avg", "exp_avg_sq")])
    bits = numbers.view(torch.int32) & 0x7FFFFFFF  # compared as floats they may be taken for zero here, too
    return int(((bits > 0) & (bits < 0x00800000)).sum()), len(numbers)


@pytest.fixture
def threads() -> Iterator[None]:
    """Restore the number of threads afterwards."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
