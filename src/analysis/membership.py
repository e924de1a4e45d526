"""Membership inference: how well a model's outputs tell its training samples from others."""

from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from src.errors import UserError
from src.formatting import figure
from src.randomness import MEMBERS
from src.records.record import Record
from src.tasks.losses import columns
from src.tasks.pipeline import Pipeline
from src.training.weights import data_of, trained

# False positive rates at which the true positive rate is measured, as in Carlini et al. 2022.
_RATES = (0.001, 0.01)
_BATCH = 2000
_LEAST = 50  # samples of each kind; of fewer, intervals and rates say nothing

Scores = NDArray[np.float64]


class Membership(NamedTuple):
    """Success of the attacks.

    Attributes:
        split: of the non-members: test or val.
        entry: for the record: ``at``, ``checkpoint``, ``members`` and ``non_members`` (their number), ``train/acc`` and ``test/acc``
            or ``val/acc`` (the accuracy on them), and ``attacks``, which contain for ``loss`` and ``confidence`` the ``auc``, its
            95 % confidence interval ``auc_interval``, and ``tpr_at_fpr_0.001`` and ``tpr_at_fpr_0.01``.
    """

    split: str
    entry: dict[str, Any]

    def lines(self) -> list[str]:
        """The entry as text."""
        headings = ["AUC", "95 % interval", *(f"TPR at {rate:.1%} FPR" for rate in _RATES)]
        members, others = self.entry["members"], self.entry["non_members"]
        lines = [
            f"  {members:,} training samples against {others:,} {self.split} samples, as many of each class",
            f"  accuracy {figure(self.entry['train/acc'])} and {figure(self.entry[f'{self.split}/acc'])}",
            f"  {'attack':<12}" + "".join(f"{heading:>18}" for heading in headings),
        ]
        for name, found in self.entry["attacks"].items():
            low, high = found["auc_interval"]
            cells = [f"{found['auc']:.4f}", f"{low:.4f} to {high:.4f}"]
            cells += [f"{found[f'tpr_at_fpr_{rate}']:.4f}" for rate in _RATES]
            lines.append(f"  {name:<12}" + "".join(f"{cell:>18}" for cell in cells))
        return lines

    def store(self, record: Record) -> None:
        """Set the record's ``membership``.

        Raises:
            OSError: the record cannot be written.
        """
        record.update(membership=self.entry)


def measure(record: Record, checkpoint: str = "best", split: str = "test") -> Membership:
    """Attack a checkpoint (best or last) of a run that classifies data in memory.

    Members are training samples of the run, non-members its test samples, or with ``split="val"`` those held out of the training
    set, which may have selected the checkpoint but are of the same distribution. Both have equally many of each class. Two
    attacks rank them: by the cross entropy of the label, the lowest first (Yeom et al. 2018, https://arxiv.org/abs/1709.01604),
    and by the highest probability, without the label.

    Raises:
        UserError: the run has no such checkpoint or too few samples, or trained something else.
    """
    model, config = trained(record, checkpoint)
    data = data_of(config, "validate", "test")
    if split == "val" and not data.val_size:
        raise UserError(f"{record.values['id']} held no samples out (data.val_size=0): choose split=test.")
    non_members = data.test_set if split == "test" else data.val_set
    members, others = _balanced(data.train_set[1], non_members[1], config["seed"])
    if len(others) < _LEAST:
        raise UserError(
            f"membership inference needs {_LEAST} samples of each kind, and the training samples and those of split={split} have "
            f"{len(others)} of the same classes: choose the other split."
        )
    scores, accuracy = {}, {}
    for name, (inputs, labels), chosen in (("train", data.train_set, members), (split, non_members, others)):
        logits = _logits(model, inputs[chosen])
        scores[name] = {
            "loss": -F.cross_entropy(logits, labels[chosen], reduction="none").numpy(),
            "confidence": _confidence(logits).numpy(),
        }
        accuracy[f"{name}/acc"] = float((logits.argmax(1) == labels[chosen]).double().mean())
    attacks = {name: attack(scores["train"][name], scores[split][name]) for name in ("loss", "confidence")}
    at = datetime.now(UTC).isoformat(timespec="seconds")
    sizes = {"members": len(members), "non_members": len(others)}
    return Membership(split, {"at": at, "checkpoint": checkpoint, **sizes, **accuracy, "attacks": attacks})


def attack(members: Scores, others: Scores) -> dict[str, Any]:
    """Success of an attack that takes samples with high scores for members.

    Args:
        members: scores of the training samples, (m,).
        others: scores of samples that the model was not trained on, (n,).

    Returns:
        ``auc``, the probability that a member has a higher score, ties counting half; ``auc_interval``, its 95 % confidence interval
        (DeLong et al. 1988, https://doi.org/10.2307/2531595); and the fraction of members above the threshold that at most 0.1 %
        and 1 % of the others exceed.
    """
    ranks = _ranks(np.concatenate([members, others]))
    below = (ranks[: len(members)] - _ranks(members)) / len(others)  # of each member: fraction of others below it
    above = 1 - (ranks[len(members) :] - _ranks(others)) / len(members)
    auc = below.mean()
    error = np.sqrt(below.var(ddof=1) / len(members) + above.var(ddof=1) / len(others))
    found: dict[str, Any] = {
        "auc": float(auc),
        "auc_interval": [float(max(0, auc - 1.96 * error)), float(min(1, auc + 1.96 * error))],
    }
    descending = np.sort(others)[::-1]
    for rate in _RATES:
        threshold = descending[int(rate * len(others))]  # exceeded by at most that many
        found[f"tpr_at_fpr_{rate}"] = float((members > threshold).mean())
    return found


def _ranks(values: Scores) -> Scores:
    """Rank of each value from 1, the mean rank where values are equal."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def _balanced(train: Tensor, test: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Indices of random samples in two sets of labels, equally many of each class."""
    generator = np.random.default_rng((seed, MEMBERS))
    chosen: tuple[list[Scores], list[Scores]] = ([], [])
    for label in torch.unique(test).tolist():
        found = [generator.permutation(np.flatnonzero(labels == label)) for labels in (train, test)]
        count = min(map(len, found))
        for indices, one in zip(chosen, found, strict=True):
            indices.append(one[:count])
    members, others = (torch.from_numpy(np.concatenate(indices)) for indices in chosen)
    return members, others


def _logits(model: Pipeline, inputs: Tensor) -> Tensor:
    """Logits (n, classes), float64, so that small losses differ."""
    with torch.no_grad():
        return torch.cat([columns(model(batch)) for batch in inputs.split(_BATCH)]).double()


def _confidence(logits: Tensor) -> Tensor:
    """Logarithm of the odds of the predicted class, (n,), which has more digits than a probability close to 1."""
    top, _ = logits.max(1)
    rest = logits.masked_fill(F.one_hot(logits.argmax(1), logits.shape[1]).bool(), -torch.inf)
    return top - rest.logsumexp(1)
