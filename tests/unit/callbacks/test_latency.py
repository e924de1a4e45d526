"""The measurement of inference."""

import time

import pytest
import torch
from lightning.pytorch.demos.boring_classes import BoringModel
from torch import nn

from src.callbacks.latency import Latency, count_flops, latencies
from src.errors import ConfigError


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
    assert calls == ["a", "a", "b", "b", *["a", "b"] * 5]
    calls.clear()
    latencies(pair, seconds=0.1, repetitions=2)
    assert calls[4:] == ["a", "b"] * 7  # 63 ms and six times 7 ms


def test_a_task_without_a_test_is_refused():
    class Untested(BoringModel):
        test_step = None

    with pytest.raises(ConfigError, match="Untested has no test_step"):
        Latency().setup(None, Untested(), "fit")  # type: ignore[arg-type]
