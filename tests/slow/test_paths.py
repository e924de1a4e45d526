"""The two ways of training: Lightning's own loop, and chunks of steps where nothing needs single ones."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from src.paths import ROOT


def test_two_processes_in_lightnings_loop_train_as_one(tmp_path: Path):
    losses = {}
    for devices in (1, 2):
        directory = tmp_path / str(devices)
        directory.mkdir()
        words = ["trainer=cpu", f"trainer.devices={devices}", "trainer.precision=64-true", "data.batch_size=77"]
        words += ["data.train_size=617", "data.val_size=501", "trainer.max_epochs=2", "model.hidden=[16]"]
        done = subprocess.run(
            [sys.executable, "-m", "tests.helpers.losses", str(directory), "--plain", *words],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        losses[devices] = json.loads(done.stdout.splitlines()[-1])
    assert len(losses[1]["losses"]) == 18
    assert losses[2]["losses"] == pytest.approx(losses[1]["losses"], abs=1e-9)
    assert losses[2]["metrics"] == pytest.approx(losses[1]["metrics"], abs=1e-9)
    assert losses[1]["fast_path"] is losses[2]["fast_path"] is False
