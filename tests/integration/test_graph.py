"""What a CUDA graph does with a chunk, where the capture is one that the processor can do, too.

Whether CUDA captures these steps can only be shown on a GPU.
"""

import logging
from collections.abc import Callable
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch

from src.fast.graph import Capture, ChunkGraph
from src.fast.steps import Steps
from tests.conftest import Fit
from tests.helpers.outcome import curves
from tests.helpers.training import weights

# Twenty-one steps an epoch, in chunks of four: the last chunk has one step, and that has fewer samples.
WORDS = ["data.train_size=1300", "data.steps_per_execution=4", "trainer.precision=64-true"]


class Recorder:
    """Does again, into the same place, what it was shown; counts how often."""

    def __init__(self, wrong: bool = False) -> None:
        self.wrong, self.captured, self.replayed = wrong, 0, 0

    def __call__(self, function: Callable[[], torch.Tensor]) -> tuple[Callable[[], object], torch.Tensor]:
        self.captured += 1
        result = function()

        def replay() -> None:
            self.replayed += 1
            if not self.wrong:
                result.copy_(function())

        return replay, result


def refuses(function: Callable[[], torch.Tensor]) -> tuple[Callable[[], object], torch.Tensor]:
    function()
    raise RuntimeError("operation not permitted when stream is capturing\nand more")


@pytest.fixture
def captured_by(monkeypatch: pytest.MonkeyPatch) -> Callable[[Capture], None]:
    def set_up(capture: Capture) -> None:
        def make(self: Steps) -> ChunkGraph:
            assert self._flat is not None
            return ChunkGraph(self._steps_to_capture, self._flat.state, self._context.steps_per_execution, capture)

        monkeypatch.setattr(Steps, "_make_graph", make)

    return set_up


def both(fit_here: Fit, captured_by: Callable[[Capture], None], capture: Capture, *words: str) -> list[Path]:
    plain = fit_here(*WORDS, *words)
    captured_by(capture)
    found = fit_here(*WORDS, *words)
    for name, value in plain["metrics"].items():
        assert found["metrics"][name] == pytest.approx(value, abs=1e-9), name
    return [plain["directory"], found["directory"]]


def assert_same(directories: list[Path]) -> None:
    one, other = (
        torch.load(directory / "checkpoints" / "last.ckpt", weights_only=True, map_location="cpu")
        for directory in directories
    )
    for name, value in weights(directories[0]).items():
        torch.testing.assert_close(weights(directories[1])[name], value, rtol=0, atol=1e-9)
    assert one["global_step"] == other["global_step"] == 42
    assert one["lr_schedulers"] == other["lr_schedulers"]
    assert curves(directories[0])["lr"] == curves(directories[1])["lr"]
    states = [checkpoint["optimizer_states"][0]["state"] for checkpoint in (one, other)]
    for number, state in states[0].items():
        assert state["step"] == states[1][number]["step"] == 42


@pytest.mark.parametrize("words", [[], ["schedule=cosine"], ["optimizer=adamw", "task.gradient_clip_norm=0.1"]])
def test_a_training_by_graphs_is_the_same(fit_here: Fit, captured_by: Callable[..., None], words: list[str]):
    recorder = Recorder()
    assert_same(both(fit_here, captured_by, recorder, *words))
    assert recorder.captured == 1
    assert recorder.replayed == 10  # five whole chunks in each of two epochs, the first of all to compare with


@pytest.mark.parametrize("capture", [Recorder(wrong=True), refuses])
def test_a_graph_that_fails_or_does_something_else_is_not_used(
    fit_here: Fit, captured_by: Callable[..., None], caplog: pytest.LogCaptureFixture, capture: Capture
):
    with caplog.at_level(logging.WARNING):
        assert_same(both(fit_here, captured_by, capture, "schedule=step"))
    [said] = [record.getMessage() for record in caplog.records if "CUDA graph" in record.getMessage()]
    assert "differ" in said or "not permitted when stream is capturing" in said
    assert "and more" not in said


def test_on_the_processor_nothing_is_captured(fit_here: Fit, monkeypatch: pytest.MonkeyPatch):
    made: list[object] = []
    original = Steps._make_graph
    monkeypatch.setattr(Steps, "_make_graph", lambda self: made.append(original(self)))
    fit_here()
    assert made == [None]


class Decay(pl.Callback):
    """Changes a setting that a graph has taken over as a number."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == 1:
            trainer.optimizers[0].param_groups[0]["weight_decay"] = 0.5


def test_a_setting_that_changes_is_captured_anew(fit_here: Fit, captured_by: Callable[..., None]):
    recorder = Recorder()
    captured_by(recorder)
    fit_here(*WORDS, extra=[Decay()])
    assert recorder.captured == 2
