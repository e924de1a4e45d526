"""Test results beyond the metrics: confusion matrix, calibration and misclassified samples."""

import base64
import json
from pathlib import Path
from typing import Annotated, Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix
from torchvision.io import encode_png

from src.bounds import Bounds
from src.callbacks.after_test import AfterTest, Outcome
from src.data.images import with_channels
from src.files import write

# Name of the file in the run's directory.
RESULTS = "results.json"
_BINS = 15


class TestResults(AfterTest):
    """Writes ``results.json`` after the test, for reports: plain numbers, readable without torch.

    ``classes`` (names), ``confusion`` (counts, a row for each true class), ``calibration`` (see ``calibration``),
    ``mistakes`` (the most confident first: index in the test set, true and predicted class, confidence, and a PNG in base64
    if the samples are images).
    """

    __test__ = False  # pytest would collect it as a test

    def __init__(
        self, *, mistakes: Annotated[int, Bounds(ge=0, le=1000), "number of mistakes that are kept"] = 25
    ) -> None:
        self.mistakes = mistakes

    def show(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outcome: Outcome) -> None:
        """Write the file."""
        predicted, confidence = outcome.predicted, outcome.probabilities.amax(1)
        found = {
            "classes": outcome.names,
            "confusion": multiclass_confusion_matrix(predicted, outcome.labels, len(outcome.names)).tolist(),
            "calibration": calibration(outcome),
            "mistakes": [
                {
                    "index": index,
                    "true": outcome.names[int(outcome.labels[index])],
                    "predicted": outcome.names[int(predicted[index])],
                    "confidence": float(confidence[index]),
                    "image": _png(outcome.inputs[index]) if outcome.shows_pictures else None,
                }
                for index in outcome.worst(self.mistakes)
            ],
        }
        write(Path(trainer.default_root_dir) / RESULTS, json.dumps(found, indent=1) + "\n")


def calibration(outcome: Outcome) -> dict[str, Any]:
    """Calibration of the confidence, the probability of the predicted class.

    Returns:
        ``ece``, the expected calibration error (Guo and others, 2017), and ``bins`` of equal width in confidence: mean
        confidence, accuracy and count of each non-empty bin; all computed in float64.
    """
    confidence, right = outcome.probabilities.amax(1), outcome.predicted == outcome.labels
    number = torch.bucketize(confidence, torch.linspace(0, 1, _BINS + 1)[1:-1])
    bins = [
        {
            "confidence": float(confidence[here].double().mean()),
            "accuracy": float(right[here].double().mean()),
            "count": int(here.sum()),
        }
        for here in (number == one for one in range(_BINS))
        if here.any()
    ]
    error = sum(abs(one["confidence"] - one["accuracy"]) * one["count"] for one in bins) / len(right)
    return {"ece": error, "bins": bins}


def _png(image: Tensor) -> str:
    [with_channel] = with_channels(image.unsqueeze(0))
    return base64.b64encode(encode_png(with_channel.contiguous()).numpy().tobytes()).decode()
