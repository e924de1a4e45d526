"""What watches a training, and what it leaves."""

import base64
import io
import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchmetrics.functional.classification import multiclass_confusion_matrix

from src.data.mnist import MNIST
from src.model.classifier import Classifier
from tests.conftest import Command


def test_results_are_those_of_the_kept_weights(train_here: Command):
    [directory] = train_here("seed=3").directories
    found = json.loads((directory / "results.json").read_text())
    data = MNIST()
    data.setup("test")
    images, labels = data.test_set
    with torch.no_grad():
        chances = Classifier.load_from_checkpoint(directory / "checkpoints/best.ckpt").eval()(images).softmax(1)
    said = chances.argmax(1)
    assert torch.equal(torch.tensor(found["confusion"]), multiclass_confusion_matrix(said, labels, 10))
    assert sum(one["count"] for one in found["calibration"]["bins"]) == 10_000
    gaps = [abs(one["confidence"] - one["accuracy"]) * one["count"] for one in found["calibration"]["bins"]]
    assert sum(gaps) / 10_000 == pytest.approx(found["calibration"]["ece"], abs=1e-4)
    assert len(found["mistakes"]) == 25
    confidences = [mistake["confidence"] for mistake in found["mistakes"]]
    assert confidences == sorted(confidences, reverse=True)
    wrong = said != labels
    assert confidences[0] == pytest.approx(float(chances[wrong].max()), abs=1e-5)
    for mistake in found["mistakes"]:
        number = mistake["index"]
        assert (mistake["true"], mistake["predicted"]) == (str(int(labels[number])), str(int(said[number])))
        assert mistake["true"] != mistake["predicted"]
        picture = Image.open(io.BytesIO(base64.b64decode(mistake["image"])))
        assert list(picture.getdata()) == images[number].flatten().tolist()


def test_two_processes_leave_the_same_results(train: Command):
    one = train("data.steps_per_execution=4")
    two = train("data.steps_per_execution=4", "trainer.devices=2")
    assert (one.status, two.status) == (0, 0), two.stderr
    first, second = (json.loads((directory / "results.json").read_text()) for directory in two.directories)
    assert sum(map(sum, second["confusion"])) == 10_000
    moved = sum(
        abs(a - b)
        for one, other in zip(first["confusion"], second["confusion"], strict=True)
        for a, b in zip(one, other, strict=True)
    )
    assert moved <= 4  # the two round differently
    assert [mistake["index"] for mistake in first["mistakes"]][:5] == [
        mistake["index"] for mistake in second["mistakes"]
    ][:5]


def test_samples_that_are_no_pictures_have_results_too(fit_here, tmp_path: Path):
    done = fit_here("experiment=article_binary", "trainer.max_epochs=1", small=False)
    found = json.loads((done["directory"] / "results.json").read_text())
    assert sum(map(sum, found["confusion"])) == 4
    assert all(mistake["image"] is None for mistake in found["mistakes"])
