"""Evaluation of a finished run's weights, on clean, corrupted and adversarial images."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import lightning.pytorch as pl
from lightning.pytorch.utilities.model_helpers import is_overridden

from src.analysis import robustness as changed_images
from src.data.module import TensorData
from src.errors import UserError
from src.formatting import figure
from src.records.record import Record
from src.training.build import make_data
from src.training.fit import make_trainer
from src.training.seeding import SeedSteps
from src.training.weights import trained, trained_task


class Evaluation(NamedTuple):
    """Metrics of a run's weights.

    Attributes:
        split: test or val.
        entry: for the record: ``at``, ``checkpoint``, ``metrics`` (what the task logs, such as ``test/loss``;
            None for NaN and Inf) and, if there are any, ``settings`` of the task that were changed, and ``robustness``.
    """

    split: str
    entry: dict[str, Any]

    def lines(self) -> list[str]:
        """The entry as text."""
        width = max(10, *map(len, self.entry["metrics"]))
        metrics = [f"  {name:<{width}} {figure(value)}" for name, value in self.entry["metrics"].items()]
        return metrics + changed_images.as_lines(self.entry.get("robustness", []))

    def store(self, record: Record) -> None:
        """Add the entry to a run's record, and a figure of the robustness to its TensorBoard.

        Raises:
            OSError: the record or the event file cannot be written.
        """
        record.change(lambda run: {"evaluations": [*run.get("evaluations", []), self.entry]})
        if rows := self.entry.get("robustness"):
            title = f"{record.values['id']}, {self.entry['checkpoint']} weights, {self.split} set"
            changed_images.show(record, rows, title)


def measure(
    record: Record,
    checkpoint: str = "best",
    split: str = "test",
    robustness: bool = False,
    changes: Mapping[str, Any] = {},
) -> Evaluation:
    """Evaluate the weights of a run, without changing the run.

    Args:
        record: the run.
        checkpoint: best or last.
        split: test, or val for the validation samples.
        robustness: also evaluate on corrupted and adversarial images, see ``src.analysis.robustness``.
        changes: settings of the task that replace the run's; not with ``robustness``.

    Raises:
        UserError: the run has no such checkpoint or no validation samples, or its samples are not images and ``robustness``
            is set.
    """
    pipeline = None
    if robustness:
        pipeline, config = trained(record, checkpoint)
        task: pl.LightningModule = pipeline.classifier
    else:
        task, config = trained_task(record, checkpoint, changes)
    pl.seed_everything(config["seed"], verbose=False)  # for data and metrics that draw random numbers
    data = make_data(config)
    _check_split(task, data, split, record)
    one_device = {**config, "trainer": {**config["trainer"], "accelerator": "auto", "devices": 1, "num_nodes": 1}}
    trainer = make_trainer(one_device, callbacks=[SeedSteps(config["seed"])], logger=False)
    run = trainer.test if split == "test" else trainer.validate
    logged = {name: value for part in run(task, datamodule=data, verbose=False) for name, value in part.items()}
    metrics = {name: value if math.isfinite(value) else None for name, value in logged.items()}
    at = datetime.now(UTC).isoformat(timespec="seconds")
    entry: dict[str, Any] = {"at": at, "checkpoint": checkpoint, "metrics": metrics}
    if changes:
        entry["settings"] = dict(changes)
    if pipeline:
        assert isinstance(data, TensorData)
        loader = data.test_dataloader() if split == "test" else data.val_dataloader()
        entry["robustness"] = changed_images.measure(pipeline, loader, trainer, config["seed"])
    return Evaluation(split, entry)


def _check_split(task: pl.LightningModule, data: pl.LightningDataModule | None, split: str, record: Record) -> None:
    """Check that the split exists.

    Raises:
        UserError: the data set has no samples of this split, or the task has no step for it.
    """
    id = record.values["id"]
    if isinstance(data, TensorData) and split == "val" and not data.val_size:
        raise UserError(f"{id} held no samples out (data.val_size=0): there is nothing to validate on.")
    step, loader = ("test_step", "test_dataloader") if split == "test" else ("validation_step", "val_dataloader")
    if not is_overridden(step, task):
        raise UserError(f"{id} was trained with {type(task).__name__}, which has no {step}.")
    if not any(one is not None and is_overridden(loader, one) for one in (data, task)):
        raise UserError(f"{id} was trained on {type(data).__name__}, which has no {loader}.")
