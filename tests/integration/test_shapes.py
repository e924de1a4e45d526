"""A data set of colour images, from the training to every command that reads or shows images."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.paths import ROOT
from tests.conftest import Command, copy_of_the_project
from tests.helpers.shapes import Squares

TRAINING = [
    "data=squares",
    "trainer.accelerator=cpu",
    "trainer.devices=1",
    "trainer.max_epochs=2",
    "model.hidden=[8]",
    "optimizer.lr=1e-3",
    "callbacks=full",
]


@pytest.mark.slow
def test_colour_images_are_trained_evaluated_explained_and_predicted(command: Command, tmp_path: Path):
    shape = (3, 12, 12)
    project = copy_of_the_project(tmp_path / "project")
    (project / "src/data/squares.py").write_text((ROOT / "tests/helpers/shapes.py").read_text())
    words = f"_target_: src.data.squares.Squares\nshape: {list(shape)}\naugment: {{shift: 1.0}}\n"
    (project / "conf/data/squares.yaml").write_text(words)
    done = command("train", *TRAINING, cwd=project)
    assert done.status == 0, done.stderr
    [directory] = done.directories

    measured = command("evaluate", "latest", "--robustness", cwd=project)
    assert measured.status == 0, measured.stderr
    assert "erased" in measured.stdout

    explained = command("explain", "latest", "0-2", "steps=20", cwd=project)
    assert explained.status == 0, explained.stderr
    assert len(list((directory / "explanations").glob("*.png"))) == 3

    images, _ = Squares(shape=shape).load(train=False)
    for number in range(4):
        Image.fromarray(images[number].permute(1, 2, 0).numpy()).save(tmp_path / f"{number}.png")
    files = [str(tmp_path / f"{number}.png") for number in range(4)]
    predicted = command("predict", "latest", *files, "--json", cwd=project)
    assert predicted.status == 0, predicted.stderr
    code = (
        "import json, sys, torch\nfrom src.training.weights import load_model\nfrom tests.helpers.shapes import Squares\n"
        f"model = load_model({str(directory / 'checkpoints/best.ckpt')!r})\n"
        f"images, _ = Squares(shape={shape}).load(train=False)\n"
        "print(json.dumps(model(images[:4]).softmax(1).tolist()))"
    )
    again = subprocess.run(
        [sys.executable, "-c", f"import sys\nsys.path[:0] = [{str(project)!r}, {str(ROOT)!r}]\n{code}"],
        capture_output=True,
        text=True,
    )
    assert again.returncode == 0, again.stderr
    found = [list(row["probabilities"].values()) for row in json.loads(predicted.stdout)]
    assert np.allclose(found, json.loads(again.stdout), atol=1e-5)
