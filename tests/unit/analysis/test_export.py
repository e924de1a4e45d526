"""python -m src.export: files that answer as the checkpoint does, and run without this project."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from src.export import main
from src.models.mlp import ACTIVATIONS, NORMS
from src.records.environment import environment
from src.records.lock import owned
from src.records.record import Record
from tests.helpers.export import _exports_well

FEW = [("relu", None), ("sigmoid", "batch"), ("tanh", "layer"), ("gelu", "batch"), ("silu", "layer")]


@pytest.mark.parametrize(("activation", "norm"), FEW)
def test_every_activation_and_norm_is_exported(activation: str, norm: str | None):
    assert {one for one, _ in FEW} == set(ACTIVATIONS)
    assert {one for _, one in FEW} == {None, *NORMS}
    _exports_well(activation, norm, "onnx")


def test_a_run_at_work_is_left_alone(tmp_path: Path, compose: Callable[..., Any], capfd: pytest.CaptureFixture[str]):
    Record.start(
        tmp_path,
        sweep=None,
        config=compose(),
        overrides=[],
        command="",
        git=None,
        environment=environment(),
    )
    with owned(tmp_path):
        assert main([str(tmp_path), "--format", "pt2"]) == 1
    assert "is still running" in capfd.readouterr().err
