"""The notebook does what it says, cell by cell, in a kernel of its own, wherever it is opened."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from src.paths import ROOT
from tests.conftest import SMALL
from tests.helpers.notebook import NOTEBOOK


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one run in it."""
    folder = tmp_path_factory.mktemp("outputs")
    call = [sys.executable, "-m", "src.train", *SMALL, "name=looked_at"]
    subprocess.run(call, cwd=ROOT, env={**os.environ, "OUTPUTS_DIR": str(folder)}, check=True, capture_output=True)
    return folder


def said_and_drawn(cell: Any) -> tuple[str, int]:
    text = "".join(output.get("text", "") + output.get("data", {}).get("text/plain", "") for output in cell.outputs)
    return text, sum("image/png" in output.get("data", {}) for output in cell.outputs)


@pytest.mark.parametrize("folder", [pytest.param("", marks=pytest.mark.slow), "docs"])
def test_the_notebook_runs_from_the_root_and_from_docs(outputs: Path, folder: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OUTPUTS_DIR", str(outputs))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(ROOT / folder)}}).execute()
    _, trained, runs, lines, mistakes, model = (cell for cell in notebook.cells if cell.cell_type == "code")
    assert "looked_at" in said_and_drawn(runs)[0]
    assert said_and_drawn(trained)[0].count("done") >= 2
    assert "python -m src.train data.train_size=2000" in said_and_drawn(runs)[0]
    assert said_and_drawn(lines)[1] == said_and_drawn(mistakes)[1] == said_and_drawn(model)[1] == 1
    assert "the model says" in said_and_drawn(model)[0]
