"""What the test set says beyond its loss: which classes are taken for which, how sure the model was, where it erred."""

import base64
import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error, multiclass_confusion_matrix
from torchvision.io import encode_png

from src.data.chunks import Chunk, ChunkLoader
from src.files import write
from src.model.losses import probabilities

# In the run's directory.
RESULTS = "results.json"
_BINS = 15


class TestResults(pl.Callback):
    """Leaves ``results.json`` after the test, for reports: plain numbers, readable without torch.

    ``classes`` (names), ``confusion`` (counts, a row for each true class), ``calibration`` (``ece``, the expected
    calibration error, and ``bins`` with mean confidence, accuracy and count), ``mistakes`` (the surest first: index in the
    test set, true and predicted class, confidence, and a PNG in base64 where the samples are grey pictures).

    Args:
        mistakes: how many are kept.
    """

    __test__ = False  # pytest would take it for a test

    def __init__(self, *, mistakes: int = 25) -> None:
        self.mistakes = mistakes

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin anew."""
        self._parts: list[tuple[Tensor, Tensor]] = []

    def on_test_batch_end(  # type: ignore[override]
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: dict[str, Tensor] | None,
        batch: Chunk,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the logits, and which samples they are of."""
        if outputs is None:  # the last batch was too small for this rank
            return
        loader: ChunkLoader = trainer.test_dataloaders  # type: ignore[assignment]
        first = batch.first_step * loader.batch_size
        mine = torch.arange(first, first + sum(batch.totals))[trainer.global_rank :: trainer.world_size]
        self._parts.append((mine, outputs["logits"].detach().float().cpu()))

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Bring the ranks' shares together, in the order of the test set, and write them down."""
        shares: list[Any] = [self._parts]
        if trainer.world_size > 1:
            shares = [None] * trainer.world_size
            torch.distributed.all_gather_object(shares, self._parts)
        if not trainer.is_global_zero:
            return
        parts = [part for share in shares for part in share]
        order = torch.cat([samples for samples, _ in parts]).argsort()
        logits = torch.cat([part for _, part in parts])[order]
        data = trainer.datamodule  # type: ignore[attr-defined]
        inputs, labels = (tensor.cpu() for tensor in data.test_set)
        names = [str(name) for name in getattr(data, "class_names", range(data.classes))]
        found = summary(probabilities(logits), labels, inputs, names, self.mistakes)
        write(Path(trainer.default_root_dir) / RESULTS, json.dumps(found, indent=1) + "\n")


def summary(chances: Tensor, labels: Tensor, inputs: Tensor, names: list[str], most: int) -> dict[str, Any]:
    """What ``results.json`` holds.

    Args:
        chances: probabilities (n, classes).
        labels: the true classes, int64 (n,).
        inputs: the raw samples (n, *shape).
        names: of the classes.
        most: how many mistakes.
    """
    classes = len(names)
    sure, said = chances.max(1)
    wrong = said != labels
    worst = sure.masked_fill(~wrong, -1.0).argsort(descending=True, stable=True)[: min(most, int(wrong.sum()))].tolist()
    number = torch.bucketize(sure, torch.linspace(0, 1, _BINS + 1)[1:-1])
    bins = [
        {
            "confidence": float(sure[here].mean()),
            "accuracy": 1.0 - float(wrong[here].float().mean()),
            "count": int(here.sum()),
        }
        for here in (number == one for one in range(_BINS))
        if here.any()
    ]
    is_picture = inputs.ndim == 3 and inputs.dtype == torch.uint8
    return {
        "classes": names,
        "confusion": multiclass_confusion_matrix(said, labels, classes).tolist(),
        "calibration": {
            "ece": float(multiclass_calibration_error(chances, labels, classes, n_bins=_BINS)),
            "bins": bins,
        },
        "mistakes": [
            {
                "index": index,
                "true": names[int(labels[index])],
                "predicted": names[int(said[index])],
                "confidence": float(sure[index]),
                "image": _png(inputs[index]) if is_picture else None,
            }
            for index in worst
        ],
    }


def _png(picture: Tensor) -> str:
    return base64.b64encode(encode_png(picture.unsqueeze(0)).numpy().tobytes()).decode()
