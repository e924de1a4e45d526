"""Multi-task learning on images of digits: one network predicts the digit, its parity and the slant of its strokes."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, get_args

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from src.bounds import Mode, Positive
from src.data.module import TensorData
from src.errors import ConfigError
from src.tasks.base import ClipNorm, MakeOptimizer, MakeSchedule, SupervisedTask
from src.tasks.losses import Loss, Reduction
from src.tasks.metrics import Mean

Head = Literal["digit", "parity", "slant"]
HEADS: tuple[Head, ...] = get_args(Head)
_METRICS: dict[Head, str] = {"digit": "digit_acc", "parity": "parity_acc", "slant": "slant_mae"}

Batch = tuple[Tensor, Tensor]


def slant(images: Tensor) -> Tensor:
    """Slant of the strokes of an image: the tangent of their angle to the vertical, positive if they lean to the right.

    It is ``-cov(x, y) / (var(y) + 1/12)`` of columns x and rows y, counted downwards, over all pixels weighted by their grey values:
    the shear that deslants an image by its second moments (LeCun et al. 1998, https://doi.org/10.1109/5.726791). 1/12 is the variance
    within a pixel, a square of side 1; with it the slant of any image is finite, and that of a blank one 0.

    Args:
        images: raw images (n, height, width), with values of at least 0; the background is 0.

    Returns:
        The slant of each image, (n,), in float32 or the images' dtype if that is more precise.
    """
    images = images.to(torch.promote_types(images.dtype, torch.float32))
    rows, columns = (torch.arange(size, device=images.device, dtype=images.dtype) for size in images.shape[1:])
    weights = images / images.sum((1, 2), keepdim=True).clamp(min=1)
    # Sums of products, since autocast would compute matrix products in bfloat16.
    y = rows - (weights.sum(2) * rows).sum(1, keepdim=True)  # (n, height), relative to the center of mass
    x = columns - (weights.sum(1) * columns).sum(1, keepdim=True)  # (n, width)
    covariance = (weights * y.unsqueeze(2) * x.unsqueeze(1)).sum((1, 2))
    variance = (weights.sum(2) * y.square()).sum(1)
    return -covariance / (variance + 1 / 12)


class MultiTaskLoss(Loss):
    """Weighted sum of the losses of several heads: cross entropy of classes, half the squared error of the slant.

    Learned weights are those of Kendall, Gal and Cipolla (2018, https://arxiv.org/abs/1705.07115): the loss of a sample is
    ``sum_k(exp(-s_k) * L_k + s_k / 2)``, with ``s_k`` the logarithm of the variance of head k, a parameter that is 0 at first.

    Args:
        sizes: number of outputs of each head; an output tensor has them in this order.
        weights: weight of each head in the same order, or ``learned``.
    """

    fixed_weights: Tensor

    def __init__(self, sizes: Mapping[Head, int], weights: Literal["learned"] | Sequence[float]) -> None:
        super().__init__()
        self.sizes = dict(sizes)
        self.log_variances: nn.Parameter | None = None
        if weights == "learned":
            self.log_variances = nn.Parameter(torch.zeros(len(sizes)))
        else:
            self.register_buffer("fixed_weights", torch.tensor(weights), persistent=False)

    @property
    def weights(self) -> Tensor:
        """The factor of each head's loss, (heads,)."""
        return self.fixed_weights if self.log_variances is None else torch.exp(-self.log_variances)

    def split(self, outputs: Tensor) -> dict[Head, Tensor]:
        """The outputs (n, outputs) of each head: logits (n, classes), or the slant (n, 1)."""
        return dict(zip(self.sizes, outputs.split([*self.sizes.values()], 1), strict=True))

    def forward(self, outputs: Tensor, targets: Tensor, reduction: Reduction = "sum") -> Tensor:
        """The loss summed over the samples, or of each, (n,). Targets are floating-point, (n, heads)."""
        losses = torch.stack(
            [
                (part.squeeze(1) - target).square() / 2
                if head == "slant"
                else F.cross_entropy(part, target.long(), reduction="none")
                for (head, part), target in zip(self.split(outputs).items(), targets.unbind(1), strict=True)
            ],
            1,
        )
        total = (losses * self.weights).sum(1)
        if self.log_variances is not None:
            total = total + self.log_variances.sum() / 2
        return total.sum() if reduction == "sum" else total


class MultiTask(SupervisedTask):
    """Trains one network for several tasks on images of digits, whose targets are computed from image and label.

    All layers but the last are shared; the outputs of the last are divided among the heads: ``digit`` (a logit for each class),
    ``parity`` (two logits: even, odd) and ``slant`` (one output; see ``slant``).

    Logs ``loss``, ``digit_acc``, ``parity_acc`` and ``slant_mae`` below ``train/``, ``val/`` and ``test/``, each exact for all samples
    of an epoch on any number of ranks, and learned weights as ``weight/digit`` and so on.

    Args:
        net: maps images to the outputs of all heads, (n, outputs).
        class_names: the digit of each class.
        optimizer: builds the optimizer from the parameters; needed only for training.
        schedule: see ``SupervisedTask``.

    Raises:
        ConfigError: no head is chosen or one twice, or the number of weights is not that of the heads.
    """

    from_data: ClassVar[tuple[str, ...]] = ("class_names",)
    metrics: ClassVar[Mapping[str, Mode]] = {
        "loss": "min",
        "digit_acc": "max",
        "parity_acc": "max",
        "slant_mae": "min",
    }
    monitor: ClassVar[str] = "loss"
    loss: MultiTaskLoss
    digits: Tensor

    def __init__(
        self,
        *,
        net: nn.Module,
        class_names: Sequence[str],
        optimizer: MakeOptimizer | None = None,
        schedule: MakeSchedule | None = None,
        heads: Annotated[Sequence[Head], "what the network predicts; one head for a single task"] = HEADS,
        weights: Annotated[
            Literal["learned"] | Sequence[Positive] | None,
            "weight of each head's loss; learned: by their uncertainty; null: all 1",
        ] = None,
        gradient_clip_norm: ClipNorm = None,
    ) -> None:
        sizes = _sizes(heads, len(class_names))
        if weights is not None and weights != "learned" and len(weights) != len(heads):
            raise ConfigError(
                f"task.weights has {len(weights)} weights, and task.heads has {len(heads)} heads ({', '.join(heads)}): give one "
                "for each, or set task.weights=learned."
            )
        metrics = [_METRICS[head] for head in heads]
        super().__init__(
            net=net,
            num_outputs=sum(sizes.values()),
            loss=MultiTaskLoss(sizes, weights or [1.0] * len(heads)),
            metrics={name: Mean() for name in metrics},
            train_metrics=metrics,
            optimizer=optimizer,
            schedule=schedule,
            gradient_clip_norm=gradient_clip_norm,
        )
        self.register_buffer("digits", torch.tensor([int(name) for name in class_names]), persistent=False)

    @staticmethod
    def outputs(data: pl.LightningDataModule, settings: Mapping[str, Any]) -> int:
        """The number of outputs of all heads together.

        Raises:
            ConfigError: the data set is not one of grayscale images of digits in memory, or see ``MultiTask``.
        """
        if (
            not isinstance(data, TensorData)
            or not data.classes
            or data.multilabel
            or len(data.input_shape) != 2
            or not all(name.isdecimal() for name in data.class_names)
        ):
            raise ConfigError(
                "task=multitask requires a data set in memory of grayscale images whose classes are digits, such as data=mnist, "
                f"and {type(data).__name__} is none: set task=classification."
            )
        return sum(_sizes(settings.get("heads", HEADS), data.classes).values())

    def setup(self, stage: str) -> None:
        """Set the precision of the means."""
        super().setup(stage)
        for metric in (*self.val_metrics.values(), *self.test_metrics.values()):
            metric.set_dtype(self.sum_dtype)  # type: ignore[operator]

    def targets(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """The target of each head, (n, heads), for normalised images (n, height, width), augmented if they are, and labels (n,)."""
        found: dict[Head, Tensor] = {"digit": labels, "parity": self.digits[labels] % 2}
        if "slant" in self.loss.sizes:
            found["slant"] = slant(self.trainer.datamodule.normalize.inverse(inputs))  # type: ignore[attr-defined]
        dtype = torch.promote_types(inputs.dtype, torch.float32)
        return torch.stack([found[head].to(dtype) for head in self.loss.sizes], 1)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Compute the loss and the training metrics of images and labels, see ``SupervisedTask``."""
        return super().training_step((batch[0], self.targets(*batch)), batch_idx)

    def evaluate(self, batch: Batch, stage: str, loss: Mean, metrics: nn.ModuleDict) -> Tensor | None:
        """Update and log loss and metrics, see ``SupervisedTask``."""
        return super().evaluate((batch[0], self.targets(*batch)), stage, loss, metrics)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Update ``test/loss`` and the metrics."""
        self.evaluate(batch, "test", self.test_loss, self.test_metrics)

    def scores(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Each metric by name for each sample, (n,): whether the class is right, or the absolute error."""
        return {
            _METRICS[head]: (part.squeeze(1) - target).abs() if head == "slant" else (part.argmax(1) == target).float()
            for (head, part), target in zip(self.loss.split(outputs).items(), targets.unbind(1), strict=True)
        }

    def train_sums(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Each metric by name, summed over the samples."""
        return {name: values.sum() for name, values in self.scores(outputs.detach(), targets).items()}

    def update_metrics(self, metrics: nn.ModuleDict, outputs: Tensor, targets: Tensor) -> None:
        """Update each metric."""
        for name, values in self.scores(outputs, targets).items():
            metrics[name].update(values)  # type: ignore[operator]

    def on_train_epoch_end(self) -> None:
        """Log the epoch's means and learned weights."""
        super().on_train_epoch_end()
        if self.loss.log_variances is not None:
            for head, weight in zip(self.loss.sizes, self.loss.weights, strict=True):
                self.log(f"weight/{head}", weight, sync_dist=True)


def _sizes(heads: Sequence[Head], classes: int) -> dict[Head, int]:
    """Number of outputs of each head."""
    if not heads or len({*heads}) < len(heads):
        raise ConfigError(
            f"task.heads=[{','.join(heads)}] must name one head or more of {', '.join(HEADS)}, each once."
        )
    known: dict[Head, int] = {"digit": classes, "parity": 2, "slant": 1}
    return {head: known[head] for head in heads}
