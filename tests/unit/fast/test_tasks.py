"""Every task and loss takes the same steps in Lightning's own loop, on the fast path, and in several processes."""

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.tasks import CASES, train, train_in_processes


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found["parameters"] == pytest.approx(expected["parameters"], rel=0, abs=1e-9)
    assert found["metrics"] == pytest.approx(expected["metrics"], rel=1e-6, abs=1e-6, nan_ok=True)  # some in float32
    losses = [f"{stage}/loss" for stage in ("train", "val", "test")]
    assert [found["metrics"][loss] for loss in losses] == pytest.approx([expected["metrics"][loss] for loss in losses])


@pytest.mark.parametrize("name", CASES)
def test_the_fast_path_takes_the_steps_of_lightnings_loop(name: str):
    assert_same(train(name, fast=True), train(name))


@pytest.mark.parametrize(
    ("devices", "names"),
    [
        (2, ["smoothing", "module with a parameter", "one test sample", "several classes", "numbers, one test sample"]),
        pytest.param(3, [*CASES], marks=pytest.mark.slow),
    ],
)
def test_several_processes_take_the_steps_of_one(devices: int, names: list[str], tmp_path: Path):
    """Their shares of a batch differ in size, down to none, and in the classes of their samples."""
    outcomes = train_in_processes(devices, tmp_path, *names)
    for name in names:
        expected = train(name)
        for found in outcomes[name]:
            assert_same(found, expected)
