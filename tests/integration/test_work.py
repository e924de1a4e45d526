"""What an epoch does, counted: speed is guarded by the amount of work, since seconds depend on the machine."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
from torch.utils._python_dispatch import TorchDispatchMode

from src.paths import ROOT
from tests.conftest import SMALL, Fit

# Eight steps an epoch, in two chunks.
EIGHT = ["data.steps_per_execution=4", "data.batch_size=64"]


# What takes a number from the device, for which the processor would wait.
READS = ("aten._local_scalar_dense.default",)


COPIES = ("aten._to_copy.default", "aten.copy_.default", "aten.clone.default")


class Operations(TorchDispatchMode):
    """Counts torch's operations, and the bytes that are copied."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()
        self.copied = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.count[str(func)] += 1
        if str(func) in COPIES:
            self.copied += result.numel() * result.element_size()
        return result


class InChunks(pl.Callback):
    """Counts what happens within the chunks of the second epoch, from the start of each to its end."""

    accepts_chunks = True

    def __init__(self) -> None:
        self.operations, self.chunks = Operations(), 0

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if trainer.current_epoch == 1:
            self.chunks += 1
            self.operations.__enter__()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if trainer.current_epoch == 1:
            self.operations.__exit__(None, None, None)


def counted(fit_here: Fit, *words: str) -> InChunks:
    found = InChunks()
    fit_here(*EIGHT, *words, extra=[found])
    return found


def test_a_step_by_hand_takes_few_operations(fit_here: Fit):
    one, two = (counted(fit_here, f"data.steps_per_execution={n}", "model.hidden=[128,64]") for n in (8, 4))
    assert (one.chunks, two.chunks) == (1, 2)
    in_one, in_two = (sum(found.operations.count.values()) for found in (one, two))
    # Three layers forward and back (five to seven each), the outermost gradient, and Adam on one vector.
    assert in_one <= 8 * 26 + 85, one.operations.count
    assert in_two - in_one <= 65, two.operations.count  # what a chunk adds, whatever its length
    assert one.operations.count["aten._fused_adam_.default"] == 8
    assert not [name for name in one.operations.count if "backward" in name and "threshold" not in name]
    # Losses are read once a chunk, and so is the count of the right ones.
    for found in (one, two):
        assert sum(found.operations.count[name] for name in READS) <= 12 * found.chunks


def test_inputs_are_converted_once_a_chunk(fit_here: Fit):
    found = counted(fit_here, "data.steps_per_execution=8").operations
    floats = 512 * 784 * 4
    assert floats <= found.copied + floats  # the images themselves are converted in place of being copied
    assert found.copied < 2 * floats


@pytest.mark.parametrize("epochs", [(2, 4)])
def test_lightnings_own_work_grows_with_the_epochs_alone(
    fit_here: Fit, monkeypatch: pytest.MonkeyPatch, epochs: tuple[int, int]
):
    calls: Counter[str] = Counter()
    log, opened = pl.LightningModule.log, [0, False]

    def counting(self: pl.LightningModule, name: str, *args: Any, **kwargs: Any) -> None:
        calls[name] += 1
        log(self, name, *args, **kwargs)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if opened[1] and event == "open":
            opened[0] += 1

    sys.addaudithook(hook)  # there is no way to take it away again; the flag switches it off
    monkeypatch.setattr(pl.LightningModule, "log", counting)
    found = []
    for count in epochs:
        calls.clear()
        opened[:] = [0, True]
        try:
            fit_here(*EIGHT, f"trainer.max_epochs={count}")
        finally:
            opened[1] = False
        found.append((dict(calls), opened[0]))
    (few, few_files), (many, many_files) = found
    more = epochs[1] - epochs[0]
    for name in ("train/loss", "train/acc", "val/loss", "val/acc"):
        assert many[name] - few[name] == more, name
    assert many["test/loss"] == few["test/loss"] == 5  # a call for each batch of 2,000
    # Two checkpoints, each written aside and synced with its folder, and the one before kept.
    assert many_files - few_files <= 14 * more


def test_ranks_speak_once_a_step_and_within_this_machine(tmp_path: Path):
    """In processes of its own: one that has computed must not start ranks."""
    words = [*SMALL, *EIGHT, "trainer=cpu", "trainer.devices=2"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.collectives", str(tmp_path), *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    count = json.loads((tmp_path / "collectives.json").read_text())
    assert count.pop("shared_sum") == 8, count  # one a step
    # For each of the two chunks its losses, and whether a signal came.
    assert count["all_reduce"] <= 2 * 3, count
    assert sum(count.values()) <= 2 * 6, count
    assert set(json.loads((tmp_path / "listening.json").read_text())) == {"127.0.0.1"}
