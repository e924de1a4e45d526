"""What is printed when a sweep ends."""

import io
from pathlib import Path

from rich.console import Console

from src.views.overview import print_overview
from tests.conftest import MakeRun
from tests.helpers.sweeps import a_grid


def test_skipped_jobs_are_in_the_table_with_the_runs_that_have_their_settings(
    make_run: MakeRun, outputs: Path, monkeypatch
):
    monkeypatch.setenv("OUTPUTS_DIR", str(outputs))
    earlier = make_run("seed=2", accuracy=0.75)
    sweep = a_grid(outputs / "sweeps" / "s1", [["seed=1"]], [0.5])
    jobs = [[f"seed={number}"] for number in range(1, 5)]
    sweep.values |= {"jobs": jobs, "skipped": {"1": earlier.values["id"], "2": "r-removed"}}
    console = Console(file=io.StringIO(), width=200, highlight=False)
    print_overview(sweep, console)
    lines = console.file.getvalue().splitlines()
    rows = [line.split() for line in lines[2:4]]
    assert [row[0] for row in rows] == ["000", "001"]
    assert rows[1][1:4] == ["skipped:", earlier.values["id"], "0.7500"]
    assert "not run: 003: seed=4" in lines
    assert not any(line.startswith("not run: 00") and "seed=4" not in line for line in lines)
