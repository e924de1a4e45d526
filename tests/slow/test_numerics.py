"""Floating-point and thread settings: what is set, whether it took effect, and what does not depend on it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from src.numerics import OFF, strict_mode
from src.paths import ROOT
from tests.conftest import Command
from tests.helpers.numerics import LONG, clean, subnormals


def test_no_subnormal_number_is_left_by_jobs_of_a_sweep(command: Command) -> None:
    done = command("train", "-m", *LONG, "trainer.devices=1,2")
    assert [run["status"] for run in done.runs] == ["done", "done"]
    assert [subnormals(directory / "checkpoints/last.ckpt")[0] for directory in done.directories] == [0, 0]


def digests(threads: int | str, directory: Path) -> list[dict[str, Any]]:
    """What ``tests.helpers.digests`` found with so many threads."""
    directory.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.digests", str(threads), str(directory)],
        cwd=ROOT,
        env=clean(OMP_NUM_THREADS="4"),
        check=True,
        capture_output=True,
        text=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def test_weights_and_metrics_are_the_same_with_any_number_of_threads(tmp_path: Path) -> None:
    one, *others = [digests(threads, tmp_path / str(threads)) for threads in (1, 3, "auto")]
    assert {found["strict"] for found in one} == {strict_mode() != OFF}
    for found, *rest in zip(one, *others, strict=True):
        if found["independent"]:
            assert [other["weights"] for other in rest] == 2 * [found["weights"]], found["words"]
            # Images are evaluated some thousand at once, so that sigmoids round their losses differently.
            loosely = {"abs": 1e-6} if found["has_sigmoid"] else {"abs": 0}
            for other in rest:
                assert other["metrics"] == pytest.approx(found["metrics"], **loosely), found["words"]
    if strict_mode() != OFF:
        assert sum(found["independent"] for found in one) == len(one) - 5  # normalisation, bfloat16, large sigmoids
