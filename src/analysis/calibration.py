"""Temperature scaling (Guo and others, 2017): calibration of a trained model by a single parameter.

The logits are divided by a temperature, which changes the confidence but not the predicted class.
"""

from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from src.callbacks.after_test import Outcome
from src.callbacks.figures import drawn, reliability
from src.callbacks.results import calibration
from src.data.chunks import ChunkLoader
from src.errors import UserError
from src.loggers.tensorboard import add_pictures
from src.records.record import Record
from src.tasks.losses import columns
from src.tasks.pipeline import Pipeline
from src.training.weights import data_of, trained


class Calibration(NamedTuple):
    """The effect of temperature scaling.

    Attributes:
        entry: for the record: ``at``, ``checkpoint``, ``temperature``, and ``before`` and ``after``, which contain ``val/acc``,
            ``val/ece`` (expected calibration error), ``val/nll`` (mean negative log-likelihood) and the ``test`` metrics.
        curves: reliability curves on the test set, ``before`` and ``after``.
    """

    entry: dict[str, Any]
    curves: dict[str, dict[str, Any]]

    def lines(self) -> list[str]:
        """The entry as text."""
        lines = [f"  temperature {self.entry['temperature']:.4f}", f"  {'':<10}{'before':>8}{'after':>8}"]
        for name, before in self.entry["before"].items():
            lines.append(f"  {name:<10}{before:>8.4f}{self.entry['after'][name]:>8.4f}")
        return lines

    def store(self, record: Record) -> None:
        """Set the record's ``calibration``, and add the reliability diagram to the run's TensorBoard: image ``calibration``.

        Raises:
            OSError: the record or the event file cannot be written.
        """
        record.update(calibration=self.entry)
        add_pictures(record, "calibration", {"calibration": drawn(reliability(self.curves))})


def measure(record: Record, checkpoint: str = "best") -> Calibration:
    """Fit a temperature to a checkpoint (best or last) on the run's validation samples, and measure its effect.

    Raises:
        UserError: the run has no such checkpoint or no validation samples, or the temperature has no optimum.
    """
    model, config = trained(record, checkpoint)
    data = data_of(config, "validate", "test")
    if not data.val_size:
        raise UserError(
            f"{record.values['id']} held no samples out (data.val_size=0), and a temperature fitted on those it was trained "
            "on would be wrong: train with data.val_size=5000."
        )
    loaders = {"val": data.val_dataloader(), "test": data.test_dataloader()}
    logits = {split: _logits(model, loader) for split, loader in loaders.items()}
    temperature = fit_temperature(logits["val"], loaders["val"].labels)

    found: dict[str, Any] = {"before": {}, "after": {}}
    curves: dict[str, dict[str, Any]] = {}
    for split, loader in loaders.items():
        for when, scaled in (("before", logits[split]), ("after", logits[split] / temperature)):
            assert torch.equal(scaled.argmax(1), logits[split].argmax(1))
            outcome = Outcome(scaled.softmax(1).float(), loader.labels, loader.inputs, list(data.class_names))
            curves[when] = calibration(outcome)  # the test set is the last split
            found[when] |= {
                f"{split}/acc": float((outcome.predicted == outcome.labels).double().mean()),
                f"{split}/ece": curves[when]["ece"],
                f"{split}/nll": float(F.cross_entropy(scaled, loader.labels)),
            }
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return Calibration({"at": at, "checkpoint": checkpoint, "temperature": temperature, **found}, curves)


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Fit the temperature that maximizes the likelihood of the labels.

    Args:
        logits: float64 (n, classes).
        labels: true classes, int64 (n,).

    Raises:
        UserError: the likelihood has no maximum at a positive, finite temperature.
    """
    # The log-likelihood is concave in 1/T, so the signs of its slopes at both ends show whether there is a maximum between them.
    true = logits.gather(1, labels.unsqueeze(1)).squeeze(1)
    if bool((true == logits.amax(1)).all()):
        raise UserError(
            f"all {len(labels):,} held-out samples are classified correctly, so the temperature has no optimum: train with more of "
            "them held out (data.val_size)."
        )
    if true.mean() <= logits.mean():
        raise UserError(
            f"of the {len(labels):,} held-out samples the true class is given no more than the others, so that any "
            "confidence is too high: train for longer, or hold more out (data.val_size)."
        )
    log_temperature = torch.zeros((), dtype=torch.float64, requires_grad=True)  # keeps the temperature positive
    optimizer = torch.optim.LBFGS([log_temperature], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(logits / log_temperature.exp(), labels)
        value.backward()
        return value

    optimizer.step(cast(Any, loss))
    return float(log_temperature.detach().exp())


def _logits(model: Pipeline, loader: ChunkLoader) -> Tensor:
    """Logits of all samples, float64 (n, classes): precise enough that no temperature makes different logits equal."""
    with torch.no_grad():
        return torch.cat([columns(model(chunk.inputs)) for chunk in loader]).double()
