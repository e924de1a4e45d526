"""The measurement of inference."""

import time
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.demos.boring_classes import BoringDataModule, BoringModel
from torch import nn

from src.callbacks.latency import Latency, count_flops, latencies
from src.errors import ConfigError

QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}


def test_a_multiplication_and_an_addition_are_two_operations():
    net = nn.Sequential(nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 10))
    assert count_flops(net, torch.zeros(1, 30)) == 2 * (30 * 20 + 20 * 10)
    assert count_flops(nn.Conv2d(3, 8, 5), torch.zeros(1, 3, 12, 12)) == 2 * 8 * 8 * 8 * 3 * 25


def test_repetitions_alternate_and_the_fastest_of_each_counts(monkeypatch: pytest.MonkeyPatch):
    now, calls = 0.0, list[str]()
    monkeypatch.setattr(time, "perf_counter", lambda: now)

    def call(name: str, seconds: float) -> None:
        nonlocal now
        now += 9 * seconds if calls.count(name) < 3 else seconds  # the first ones are disturbed
        calls.append(name)

    pair = [lambda: call("a", 0.004), lambda: call("b", 0.003)]
    assert latencies(pair, seconds=0) == pytest.approx([4, 3])
    assert calls == [*["a"] * 4, *["b"] * 4, *["a", "b"] * 5]
    calls.clear()
    latencies(pair, seconds=0.1, repetitions=2)
    assert calls[8:] == ["a", "b"] * 15  # of 7 ms


class Untested(BoringModel):
    test_step = None


class Data(BoringDataModule):
    input_shape = (31,)


@pytest.mark.parametrize(
    ("task", "data", "message"),
    [
        (Untested, Data, "Untested has no test_step: leave it out"),
        (BoringModel, BoringDataModule, "needs the attribute input_shape of the data module"),
        (
            BoringModel,
            Data,
            r"with a sample of shape \(1, 31\), and that of BoringModel raises RuntimeError \(.*\): leave it out",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused_before_the_training(
    task: type[pl.LightningModule], data: type[pl.LightningDataModule], message: str, tmp_path: Path
):
    trainer = pl.Trainer(callbacks=[Latency()], default_root_dir=tmp_path, accelerator="cpu", max_steps=1, **QUIET)
    with pytest.raises(ConfigError, match=message):
        trainer.fit(task(), datamodule=data())


def test_any_task_with_a_test_and_data_of_known_shape_is_measured(tmp_path: Path):
    class Known(BoringDataModule):
        input_shape = (32,)

    trainer = pl.Trainer(callbacks=[Latency(seconds=0.01, batch_size=8)], default_root_dir=tmp_path, **QUIET)
    trainer.test(BoringModel(), datamodule=Known(), verbose=False)
    found = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert (found["flops"], found["parameters"], found["bytes"]) == (2 * 32 * 2, 66, 264)
    assert found["latency_ms"] > 0
    assert found["latency_ms_8"] > 0
