"""python -m src.export: files that answer as the checkpoint does, and run without this project."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from src.data.mnist import MNIST
from src.export import main
from src.models.mlp import ACTIVATIONS, NORMS
from src.records.record import Record
from src.tasks.losses import probabilities
from src.training.weights import load_model
from tests.helpers.export import _exports, _exports_well, digits, mnist

__all__ = ["digits", "mnist"]


def test_pt2_runs_in_torch_alone(digits: Record, mnist: MNIST, tmp_path: Path):
    path = tmp_path / "digits.pt2"
    assert main([str(digits.directory), "--format", "pt2", "-o", str(path), "checkpoint=last"]) == 0
    assert _exports(digits)[-1] | {"at": "", "checks": {}} == {
        "at": "",
        "format": "pt2",
        "file": str(path),
        "checkpoint": "last",
        "checks": {},
    }
    images = mnist.test_set[0][:7]
    torch.save(images, tmp_path / "images.pt")
    alone = (
        "import io, sys, torch\n"
        "program = torch.export.load('digits.pt2').module()\n"
        "images = torch.load('images.pt')\n"
        "found = [program(images), torch.cat([program(image.unsqueeze(0)) for image in images])]\n"
        "torch.save([one.detach() for one in found], 'found.pt')\n"
        "assert not any(name.partition('.')[0] in ('src', 'lightning') for name in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", alone], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    model = load_model(digits.directory / "checkpoints" / "last.ckpt")
    with torch.inference_mode():
        expected = probabilities(model(images))
    for found in torch.load(tmp_path / "found.pt"):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("form", ["onnx", "pt2"])
@pytest.mark.parametrize("norm", [None, *NORMS])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_with_every_norm_is_exported(activation: str, norm: str | None, form: str):
    _exports_well(activation, norm, form)
