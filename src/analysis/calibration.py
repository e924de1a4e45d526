"""Temperature scaling (Guo and others, 2017): one number that makes the confidence of a trained model believable.

The logits are divided by a temperature, which changes how sure the model is, and never what it says.
"""

from datetime import UTC, datetime
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from src.callbacks.after_test import Outcome
from src.callbacks.figures import drawn, reliability
from src.callbacks.results import calibration
from src.config.targets import build
from src.data.chunks import ChunkLoader
from src.data.module import TensorData
from src.errors import UserError
from src.loggers.tensorboard import add_pictures, has_tensorboard
from src.records.record import Record
from src.tasks.classification import Classifier
from src.tasks.losses import columns
from src.training.weights import trained


def measure(record: Record, checkpoint: str = "best") -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Fit a temperature on the samples a run held out, and measure what it does; the run is only read.

    Args:
        record: the run.
        checkpoint: best or last.

    Returns:
        The record's new ``calibration``: ``at``, ``checkpoint``, ``temperature``, and ``before`` and ``after``, which hold
        ``val/acc``, ``val/ece`` (expected calibration error), ``val/nll`` (mean negative log-likelihood) and their
        ``test`` twins. And the reliability on the test set ``before`` and ``after``, for ``store``.

    Raises:
        UserError: the run has no such checkpoint, held no samples out, or they determine no temperature.
    """
    model, config = trained(record, checkpoint)
    data: TensorData = build(config["data"], "data", seed=config["seed"])
    if not data.val_size:
        raise UserError(
            f"{record.values['id']} held no samples out (data.val_size=0), and a temperature fitted on those it was trained "
            "on would be wrong: train with data.val_size=5000."
        )
    data.prepare_data()
    data.setup("validate")
    data.setup("test")
    loaders = {"val": data.val_dataloader(), "test": data.test_dataloader()}
    logits = {split: _logits(model, loader) for split, loader in loaders.items()}
    temperature = fit_temperature(logits["val"], loaders["val"].labels)

    found: dict[str, Any] = {"before": {}, "after": {}}
    curves: dict[str, dict[str, Any]] = {}
    for split, loader in loaders.items():
        for when, scaled in (("before", logits[split]), ("after", logits[split] / temperature)):
            assert torch.equal(scaled.argmax(1), logits[split].argmax(1))
            outcome = Outcome(scaled.softmax(1).float(), loader.labels, loader.inputs, list(data.class_names))
            curves[when] = calibration(outcome)  # of the test set, in the end
            found[when] |= {
                f"{split}/acc": float((outcome.predicted == outcome.labels).double().mean()),
                f"{split}/ece": curves[when]["ece"],
                f"{split}/nll": float(F.cross_entropy(scaled, loader.labels)),
            }
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return {"at": at, "checkpoint": checkpoint, "temperature": temperature, **found}, curves


def store(record: Record, entry: dict[str, Any], curves: dict[str, dict[str, Any]]) -> None:
    """Keep what ``measure`` returns in the run's record, and the reliability in TensorBoard: image ``calibration``.

    Raises:
        OSError: one of them cannot be written.
    """
    record.update(calibration=entry)
    if has_tensorboard(record):
        add_pictures(record, "calibration", {"calibration": drawn(reliability(curves))})


def as_lines(entry: dict[str, Any]) -> list[str]:
    """The entry that ``measure`` returns, for a person."""
    lines = [f"  temperature {entry['temperature']:.4f}", f"  {'':<10}{'before':>8}{'after':>8}"]
    for name, before in entry["before"].items():
        lines.append(f"  {name:<10}{before:>8.4f}{entry['after'][name]:>8.4f}")
    return lines


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature that makes the labels likeliest.

    Args:
        logits: one a class, float64 (n, classes).
        labels: the true classes, int64 (n,).

    Raises:
        UserError: the likelihood has no maximum at a positive, finite temperature.
    """
    # The likelihood is concave in 1/T, so its slopes at both ends tell whether there is a maximum between them.
    true = logits.gather(1, labels.unsqueeze(1)).squeeze(1)
    if bool((true == logits.amax(1)).all()):
        raise UserError(
            f"all {len(labels):,} held-out samples are told right, so that no confidence is too high: train with more of "
            "them held out (data.val_size)."
        )
    if true.mean() <= logits.mean():
        raise UserError(
            f"of the {len(labels):,} held-out samples the true class is given no more than the others, so that any "
            "confidence is too high: train for longer, or hold more out (data.val_size)."
        )
    log_temperature = torch.zeros((), dtype=torch.float64, requires_grad=True)  # whose exponential is positive
    optimizer = torch.optim.LBFGS([log_temperature], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(logits / log_temperature.exp(), labels)
        value.backward()
        return value

    optimizer.step(cast(Any, loss))
    return float(log_temperature.detach().exp())


def _logits(model: Classifier, loader: ChunkLoader) -> Tensor:
    """Of all samples, one a class, float64 (n, classes): so exact that no division makes two of them equal."""
    with torch.no_grad():
        return torch.cat([columns(model(chunk.inputs)) for chunk in loader]).double()
