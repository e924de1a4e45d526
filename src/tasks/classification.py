"""Classification: multi-class, binary and multi-label."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, get_args

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torchmetrics import Accuracy, ExactMatch, F1Score, Metric, Precision, Recall

from src.bounds import FractionBelowOne, Mode, NotNegative, Positive
from src.data.module import TensorData
from src.errors import ConfigError, DataError
from src.tasks.base import ClipNorm, MakeOptimizer, MakeSchedule, SupervisedTask
from src.tasks.losses import DEFAULT, GAMMA, LossFunction, LossName, columns, make_loss, outputs_for, predicted
from src.tasks.metrics import AUROC

MetricName = Literal["acc", "f1", "precision", "recall", "auroc", "top3", "top5", "exact_match"]


class Classifier(SupervisedTask):
    """Trains a network on batches of samples (n, *input_shape) and labels int64 (n,), or for multi-label 0 and 1 (n, classes).

    Logs ``train/loss``, ``train/acc``, ``val/loss``, ``val/acc``, ``test/loss`` and ``test/acc``, each exact for all samples
    of an epoch on any number of ranks; other metrics as set.

    Args:
        net: maps samples to logits (n, classes); (n, 1) for binary_cross_entropy of two classes.
        classes: number of classes.
        multilabel: whether a sample may belong to several classes, or none.
        optimizer: builds the optimizer from the parameters; needed only for training.
        schedule: see ``SupervisedTask``.

    Raises:
        ConfigError: settings are incompatible with each other or with the number of classes.
    """

    from_data: ClassVar[tuple[str, ...]] = ("classes", "multilabel")
    metrics: ClassVar[Mapping[str, Mode]] = {"loss": "min", **dict.fromkeys(get_args(MetricName), "max")}  # type: ignore[dict-item]
    monitor: ClassVar[str] = "acc"

    def __init__(
        self,
        *,
        net: nn.Module,
        classes: int,
        multilabel: bool = False,
        optimizer: MakeOptimizer | None = None,
        schedule: MakeSchedule | None = None,
        loss: Annotated[LossName | nn.Module | LossFunction, "loss function: its name or a module"] = DEFAULT,
        label_smoothing: Annotated[
            FractionBelowOne, "for cross_entropy: share of the target probability spread over all classes"
        ] = 0.0,
        gamma: Annotated[NotNegative, "for focal: exponent by which well classified samples lose weight"] = GAMMA,
        class_weights: Annotated[
            Literal["balanced"] | Sequence[Positive] | None,
            "weight of each class in the loss; balanced: n / (classes * samples of the class); null: all 1",
        ] = None,
        metrics: Annotated[Sequence[MetricName], "metrics of validation and test besides the loss"] = ("acc",),
        gradient_clip_norm: ClipNorm = None,
    ) -> None:
        weight = _class_weights(class_weights, classes)
        super().__init__(
            net=net,
            num_outputs=outputs_for(loss, classes, multilabel),
            loss=make_loss(loss, label_smoothing, gamma=gamma, weight=weight, multilabel=multilabel),
            metrics=make_metrics(metrics, classes, multilabel),
            train_metrics=("acc",),
            optimizer=optimizer,
            schedule=schedule,
            gradient_clip_norm=gradient_clip_norm,
        )
        self.classes, self.multilabel = classes, multilabel
        self._is_balanced = class_weights == "balanced"

    @staticmethod
    def outputs(data: pl.LightningDataModule, settings: Mapping[str, Any]) -> int:
        """The number of logits for a data module.

        Raises:
            ConfigError: the data set has no classes, or the loss requires another number of classes.
        """
        if (classes := getattr(data, "classes", None)) is None:
            raise ConfigError(
                f"task=classification requires a data set of classes, and {type(data).__name__} has none: set task=regression."
            )
        return outputs_for(settings.get("loss", DEFAULT), classes, getattr(data, "multilabel", False))

    def setup(self, stage: str) -> None:
        """Compute balanced class weights before training.

        Raises:
            ConfigError: the labels are unavailable, or a class has no samples.
        """
        super().setup(stage)
        if stage == "fit" and self._is_balanced:
            assert self.loss.weight is not None
            data = self.trainer.datamodule  # type: ignore[attr-defined]
            if not isinstance(data, TensorData):
                raise ConfigError(
                    f"task.class_weights=balanced requires the labels of all training samples, which {type(data).__name__} "
                    f"does not have as a tensor: list a weight for each of the {self.classes} classes."
                )
            self.loss.weight.copy_(self._balanced(data.train_set[1]))

    def _balanced(self, labels: Tensor) -> Tensor:
        """Balanced weight of each class, float64 (classes,), from all training labels.

        For multi-label the number of negative samples divided by the number of positive samples of each class.
        """
        summed = labels.sum(0) if self.multilabel else torch.bincount(labels, minlength=self.classes)
        counts = summed.cpu().double()
        if missing := (counts == 0).nonzero().flatten().tolist():
            raise ConfigError(
                f"task.class_weights=balanced: class {missing[0]} has no training samples, so its weight would be infinite: "
                f"list a weight for each of the {self.classes} classes."
            )
        return (len(labels) - counts) / counts if self.multilabel else len(labels) / (self.classes * counts)

    def check_targets(self, targets: Tensor) -> None:
        """Raise ``DataError`` if a label of a batch is not a class, or the labels have the wrong shape."""
        shape = (len(targets), self.classes) if self.multilabel else (len(targets),)
        is_kind = targets.is_floating_point() if self.multilabel else targets.dtype == torch.int64
        if targets.shape != shape or not is_kind:
            kind = "floating-point" if self.multilabel else "int64"
            raise DataError(
                f"labels of a batch are {targets.dtype} of shape {tuple(targets.shape)}: they must be {kind}, of shape {shape}."
            )
        last = 1 if self.multilabel else self.classes - 1
        wrong = (targets < 0) | (targets > last) | (targets != targets.round() if self.multilabel else False)
        if wrong.any():
            allowed = "0 and 1" if self.multilabel else f"whole numbers from 0 to {last}"
            raise DataError(f"a batch has the label {targets[wrong][0].item():g}, and labels are {allowed}.")

    def train_sums(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """``acc``: number of correctly classified samples; for multi-label the sum of the samples' fractions of correct labels."""
        if self.multilabel:
            return {"acc": ((outputs > 0) == targets).sum() / self.classes}
        return {"acc": (predicted(outputs) == targets).sum()}

    def update_metrics(self, metrics: nn.ModuleDict, outputs: Tensor, targets: Tensor) -> None:
        """Update each metric with the predicted classes, or with scores for metrics that need them."""
        labels = targets.long() if self.multilabel else targets
        decided = (outputs > 0).long() if self.multilabel else predicted(outputs)
        for name, metric in metrics.items():
            match name:
                case "auroc":  # every rank must update: states are concatenated over the ranks
                    metric.update(*self._scores(outputs, labels))  # type: ignore[operator]
                case _ if not len(labels):  # torchmetrics raises for empty input
                    continue
                case "top3" | "top5":
                    metric.update(outputs, labels)  # type: ignore[operator]
                case _:
                    metric.update(decided, labels)  # type: ignore[operator]

    def _scores(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Scores that are comparable between samples, (n, k), and binary targets, (n, k); k is 1 for two classes."""
        if self.multilabel:
            return logits, labels
        if self.classes == 2:
            low, high = columns(logits).unbind(1)
            return (high - low).unsqueeze(1), labels.unsqueeze(1)
        return logits.softmax(1), nn.functional.one_hot(labels, self.classes)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor] | None:
        """Update ``test/loss`` and the metrics; returns the ``logits``, or None if this rank has no sample of the batch."""
        logits = self.evaluate(batch, "test", self.test_loss, self.test_metrics)
        return None if logits is None else {"logits": logits}


def _class_weights(weights: str | Sequence[float] | None, classes: int) -> Tensor | None:
    """Convert class weights to a tensor (classes,); ``balanced`` weights are 1 until the labels are known.

    Raises:
        ConfigError: the number of weights is not the number of classes.
    """
    if weights is None or isinstance(weights, str):
        return None if weights is None else torch.ones(classes)
    if len(weights) != classes:
        raise ConfigError(
            f"task.class_weights has {len(weights)} weights, and this data set has {classes} classes: give one for each, or "
            "set task.class_weights=balanced."
        )
    return torch.tensor(weights)


def make_metrics(names: Sequence[MetricName], classes: int, multilabel: bool = False) -> dict[str, Metric]:
    """Create classification metrics by name.

    ``f1``, ``precision`` and ``recall`` are macro averages; for two classes those of class 1. For multi-label, ``acc`` is the
    fraction of correct labels, and ``exact_match`` the fraction of samples with all labels correct.

    Raises:
        ConfigError: a metric is not defined for this number of classes, or not for multi-label targets.
    """
    count = max(2, classes)
    kind: dict[str, Any] = {
        "task": "multilabel" if multilabel else "binary" if count == 2 else "multiclass",
        "num_classes": count,
        "num_labels": count,
        "validate_args": False,
    }
    found: dict[str, Metric] = {}
    for name in names:
        match name:
            case "acc":
                task = "multilabel" if multilabel else "multiclass"
                found[name] = Accuracy(**{**kind, "task": task}, average="micro")
            case "auroc":
                found[name] = AUROC()
            case "f1":
                found[name] = F1Score(**kind, average="macro")
            case "precision":
                found[name] = Precision(**kind, average="macro")
            case "recall":
                found[name] = Recall(**kind, average="macro")
            case "exact_match":
                if not multilabel:
                    raise ConfigError(
                        "task.metrics: exact_match is defined for multi-label data only; acc is the same."
                    )
                found[name] = ExactMatch(task="multilabel", num_labels=count, validate_args=False)
            case "top3" | "top5":
                best = int(name.removeprefix("top"))
                if multilabel or classes <= best:
                    kind_of_data = "multi-label" if multilabel else f"of {classes} classes"
                    raise ConfigError(
                        f"task.metrics: {name} requires one label of more than {best} classes, and this data set is "
                        f"{kind_of_data}: leave it out."
                    )
                found[name] = Accuracy(
                    task="multiclass", num_classes=classes, average="micro", top_k=best, validate_args=False
                )
    return found


def classifies_tensors(task: pl.LightningModule, data: pl.LightningDataModule | None) -> bool:
    """Whether this is single-label classification of data in memory."""
    return isinstance(task, Classifier) and not task.multilabel and isinstance(data, TensorData)
