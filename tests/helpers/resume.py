"""What the tests of test_resume.py share."""

import os
import signal
from typing import Any

import lightning.pytorch as pl

from tests.helpers.outcome import curves, differences, outcome

# Three epochs of eight steps in chunks of three: cuts fall within an epoch, at its last chunk, and before a checkpoint.
SHORT = [
    "data.train_size=512",
    "data.steps_per_execution=3",
    "trainer.max_epochs=3",
    "model.dropout=0.3",
    "logger=both",
]


class Cut(pl.Callback):
    """Ends a training after so many chunks: told to stop (which saves), or by an error (which saves nothing)."""

    accepts_chunks = True

    def __init__(self, chunks: int, how: str) -> None:
        self.chunks, self.how = chunks, how

    def on_train_batch_end(self, *_: Any) -> None:
        self.chunks -= 1
        if self.chunks == 0:
            if self.how == "killed":
                raise RuntimeError("killed")
            os.kill(os.getpid(), signal.SIGTERM)

    def on_test_start(self, *_: Any) -> None:
        if self.chunks > 0:
            raise RuntimeError("killed")


def assert_same_run(cut: dict[str, Any], whole: dict[str, Any]) -> None:
    assert not differences(outcome(cut["directory"]), outcome(whole["directory"]))
    assert (cut["metrics"], cut["best"]) == (whole["metrics"], whole["best"])
    for points in curves(cut["directory"]).values():
        steps = [step for step, _ in points]
        assert steps == sorted(set(steps))
