"""Evaluation of a finished run's weights, on images as they are and on corrupted and attacked ones."""

from datetime import UTC, datetime
from typing import Any, NamedTuple

from src.analysis import robustness as changed_images
from src.errors import UserError
from src.records.record import Record
from src.training.fit import make_trainer
from src.training.weights import data_of, trained


class Evaluation(NamedTuple):
    """Metrics of a run's weights.

    Attributes:
        split: test or val.
        entry: for the record: ``at``, ``checkpoint``, ``metrics`` (``test/loss`` and ``test/acc``, or the ``val`` metrics)
            and, if measured, ``robustness``.
    """

    split: str
    entry: dict[str, Any]

    def lines(self) -> list[str]:
        """The entry as text."""
        metrics = [f"  {name:<10} {value:.4f}" for name, value in self.entry["metrics"].items()]
        return metrics + changed_images.as_lines(self.entry.get("robustness", []))

    def store(self, record: Record) -> None:
        """Add the entry to a run's record, and a figure of the robustness to its TensorBoard.

        Raises:
            OSError: one of them cannot be written.
        """
        record.change(lambda run: {"evaluations": [*run.get("evaluations", []), self.entry]})
        if rows := self.entry.get("robustness"):
            title = f"{record.values['id']}, {self.entry['checkpoint']} weights, {self.split} set"
            changed_images.show(record, rows, title)


def measure(record: Record, checkpoint: str = "best", split: str = "test", robustness: bool = False) -> Evaluation:
    """Measure the weights of a run, which is only read.

    Args:
        record: the run.
        checkpoint: best or last.
        split: test, or val for the held-out samples.
        robustness: also measure on corrupted and attacked images, see ``src.analysis.robustness``.

    Raises:
        UserError: the run has no such checkpoint or no held-out samples, or its samples are not grey images and
            ``robustness`` is set.
    """
    model, config = trained(record, checkpoint)
    data = data_of(config)
    if split == "val" and not data.val_size:
        raise UserError(
            f"{record.values['id']} held no samples out (data.val_size=0): there is nothing to validate on."
        )
    one_device = {**config, "trainer": {**config["trainer"], "accelerator": "auto", "devices": 1, "num_nodes": 1}}
    trainer = make_trainer(one_device, callbacks=[], logger=False)
    run = trainer.test if split == "test" else trainer.validate
    [metrics] = run(model.classifier, datamodule=data, verbose=False)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    entry: dict[str, Any] = {"at": at, "checkpoint": checkpoint, "metrics": dict(metrics)}
    if robustness:
        loader = data.test_dataloader() if split == "test" else data.val_dataloader()
        entry["robustness"] = changed_images.measure(model, loader, trainer, config["seed"])
    return Evaluation(split, entry)
