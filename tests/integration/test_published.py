"""Modules of published packages, trained by YAML alone."""

from pathlib import Path

import pytest

from src.paths import ROOT
from tests.conftest import Command, copy_of_the_project

DOCUMENTED = (ROOT / "docs/published.md").read_text()


def documented(name: str) -> str:
    """A file as docs/published.md shows it."""
    return DOCUMENTED.partition(f"# {name}\n")[2].partition("```")[0]


def test_lightning_uq_box(command: Command, tmp_path: Path):
    pytest.importorskip("lightning_uq_box", reason="lightning-uq-box is not installed")
    project = copy_of_the_project(tmp_path / "project")
    for name in ("conf/task/uq.yaml", "conf/data/toy.yaml"):
        (project / name).write_text(documented(name))
    (project / "pyproject.toml").write_text('[tool.tracking]\ntrusted = ["lightning_uq_box"]\n')
    words = ["task=uq", "data=toy", "trainer.devices=1", "logger=csv", "monitor=val_loss"]
    done = command("train", *words, "trainer.max_epochs=2", cwd=project)
    assert done.status == 0, done.stderr
    [run] = done.runs
    assert run["metrics"]["val_loss"] < 2
    again = command("train", f"resume={run['id']}", "trainer.max_epochs=3", cwd=project)
    assert again.status == 0, again.stderr
