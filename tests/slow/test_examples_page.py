"""docs/your-own.md: its commands, one after the other."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

from src.paths import ROOT
from tests.conftest import Finished
from tests.helpers.your_own import COMMANDS


def test_every_command_on_the_page_runs(outputs: Path):
    for line in COMMANDS:
        program, *words = shlex.split(line)
        assert program == "python"
        done = subprocess.run(
            [sys.executable, *words],
            cwd=ROOT,
            env={**os.environ, "OUTPUTS_DIR": str(outputs)},
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    runs = Finished(0, "", "", outputs).runs
    assert {run["status"] for run in runs} == {"done"}
    assert len(runs) == 8
