"""docs/extending.md: the files that it shows are added to a copy of the project, and used."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import SMALL, Finished, copy_of_the_project
from tests.helpers.readme import FILES


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = copy_of_the_project(tmp_path / "project")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("choice", ["optimizer=radam", "model=cnn", "data=stripes", "callbacks=shout"])
def test_what_the_guide_adds_trains(project: Path, tmp_path: Path, choice: str):
    words = [word for word in SMALL if not word.startswith((f"{choice.partition('=')[0]}.", "data.train_size"))]
    done = subprocess.run(
        [sys.executable, "-m", "src.train", *words, choice, "trainer.max_epochs=1"],
        cwd=project,
        env={**os.environ, "OUTPUTS_DIR": str(tmp_path / "outputs")},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    [run] = Finished(0, done.stdout, done.stderr, tmp_path / "outputs").runs
    assert run["status"] == "done"
    assert run["metrics"]["test/acc"] > 0.3
    if choice == "callbacks=shout":
        assert "DONE!" in done.stdout


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("model.chanels=8", "'model.channels'"),
        ("+model.channel=8", "'channels'"),
        ("+optimizer.betaz=[0.9,0.9]", "'betas'"),
        ("+data.val_sizes=3", "'val_size'"),
    ],
)
def test_settings_of_ones_own_objects_are_checked_too(project: Path, tmp_path: Path, word: str, said: str):
    done = subprocess.run(
        [sys.executable, "-m", "src.train", "optimizer=radam", "model=cnn", "data=stripes", word],
        cwd=project,
        env={**os.environ, "OUTPUTS_DIR": str(tmp_path / "outputs")},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert not (tmp_path / "outputs").exists()
