"""Losses. Each maps the outputs of a network (n, outputs) and targets to the sum over the samples, or to each sample's (n,)."""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from src.errors import ConfigError, UserError

Reduction = Literal["sum", "none"]
LossName = Literal["cross_entropy", "squared_error", "binary_cross_entropy", "focal"]
RegressionLossName = Literal["mse", "mae", "huber"]
LossFunction = Callable[[Tensor, Tensor], Tensor]
DEFAULT: LossName = "cross_entropy"
# Defaults of the parameters that only one of the losses has.
GAMMA, DELTA = 2.0, 1.0


class Loss(nn.Module):
    """Base class of all losses.

    The mean over a batch is the sum over the samples divided by the sum of their weights; by their number where they have none.

    Attributes:
        weight: of each class, (classes,), or None.
    """

    weight: Tensor | None

    def __init__(self, weight: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("weight", weight)

    def forward(self, outputs: Tensor, targets: Tensor, reduction: Reduction = "sum") -> Tensor:
        """The sum over the samples, or with ``reduction="none"`` the loss of each."""
        raise NotImplementedError

    def sample_weights(self, targets: Tensor) -> Tensor | None:
        """The weight of each sample (n,), which its loss contains already; None where all are 1."""
        return None if self.weight is None else self.weight[targets]

    def _reduced(self, losses: Tensor, targets: Tensor, reduction: Reduction) -> Tensor:
        """Unweighted losses (n,) of samples of classes int64 (n,), weighted and reduced."""
        weights = self.sample_weights(targets)
        losses = losses if weights is None else losses * weights
        return losses.sum() if reduction == "sum" else losses


class CrossEntropy(Loss):
    """Softmax cross entropy; ``label_smoothing`` spreads that much of the target over all classes."""

    def __init__(self, label_smoothing: float = 0.0, weight: Tensor | None = None) -> None:
        super().__init__(weight)
        self.label_smoothing = label_smoothing

    def forward(self, outputs: Tensor, targets: Tensor, reduction: Reduction = "sum") -> Tensor:
        """The sum over the samples, or the loss of each."""
        smoothing = self.label_smoothing
        return F.cross_entropy(outputs, targets, self.weight, reduction=reduction, label_smoothing=smoothing)

    def smoothed(self, targets: Tensor) -> Tensor:
        """Spread one-hot targets (n, outputs) as the loss does."""
        if not self.label_smoothing:
            return targets
        return targets * (1 - self.label_smoothing) + self.label_smoothing / targets.shape[1]


class SquaredError(Loss):
    """Half the summed square of sigmoid outputs against one-hot targets, or against the label where there is one output."""

    def forward(self, outputs: Tensor, targets: Tensor, reduction: Reduction = "sum") -> Tensor:
        """The sum over the samples, or the loss of each."""
        count = outputs.shape[1]
        encoded = targets.unsqueeze(1) if count == 1 else F.one_hot(targets, count)
        losses = (torch.sigmoid(outputs) - encoded.to(outputs.dtype)).square().sum(1) / 2
        return self._reduced(losses, targets, reduction)


class BinaryCrossEntropy(Loss):
    """Sigmoid cross entropy of a single output against labels 0 and 1."""

    def forward(self, outputs: Tensor, targets: Tensor, reduction: Reduction = "sum") -> Tensor:
        """The sum over the samples, or the loss of each."""
        labels = targets.to(outputs.dtype)
        losses = F.binary_cross_entropy_with_logits(outputs.squeeze(1), labels, reduction="none")
        return self._reduced(losses, targets, reduction)


class Focal(Loss):
    """Softmax cross entropy times (1 - p) ** gamma, p the probability of the true class (Lin et al. 2017,
    https://arxiv.org/abs/1708.02002).
    """

    def __init__(self, gamma: float = GAMMA, weight: Tensor | None = None) -> None:
        super().__init__(weight)
        self.gamma = gamma

    def forward(self, outputs: Tensor, targets: Tensor, reduction: Reduction = "sum") -> Tensor:
        """The sum over the samples, or the loss of each."""
        losses = _focal(F.cross_entropy(outputs, targets, reduction="none"), self.gamma)
        return self._reduced(losses, targets, reduction)


def _focal(cross_entropies: Tensor, gamma: float) -> Tensor:
    # 1 - p from its logarithm; above 0, where a power below 1 has no gradient.
    wrong = (-torch.expm1(-cross_entropies)).clamp(min=torch.finfo(cross_entropies.dtype).tiny)
    return wrong**gamma * cross_entropies


class Elementwise(Loss):
    """A loss of each output, averaged over the outputs of a sample, against targets (n, outputs).

    Args:
        function: maps outputs and targets, both (n, outputs), to losses (n, outputs).
    """

    def __init__(self, function: LossFunction) -> None:
        super().__init__()
        self.function = function

    def forward(self, outputs: Tensor, targets: Tensor, reduction: Reduction = "sum") -> Tensor:
        """The sum over the samples, or the loss of each."""
        losses = self.function(*_same_dtype(outputs, targets)).mean(1)
        return losses.sum() if reduction == "sum" else losses


class MultilabelCrossEntropy(Loss):
    """Sigmoid cross entropy, averaged over the classes, against targets of 0 and 1 (n, classes).

    Args:
        weight: of the targets 1 of each class, as ``pos_weight`` of ``torch.nn.BCEWithLogitsLoss``.
        gamma: 0, or that of the focal loss.
    """

    def __init__(self, gamma: float = 0.0, weight: Tensor | None = None) -> None:
        super().__init__(weight)
        self.gamma = gamma

    def forward(self, outputs: Tensor, targets: Tensor, reduction: Reduction = "sum") -> Tensor:
        """The sum over the samples, or the loss of each."""
        outputs, targets = _same_dtype(outputs, targets)
        losses = F.binary_cross_entropy_with_logits(outputs, targets, reduction="none")
        losses = _focal(losses, self.gamma) if self.gamma else losses
        if self.weight is not None:
            losses = losses * (1 + targets * (self.weight - 1))
        losses = losses.mean(1)
        return losses.sum() if reduction == "sum" else losses

    def sample_weights(self, targets: Tensor) -> Tensor | None:
        """None: as in torch, the mean is over all samples and classes."""
        return None


class Custom(Loss):
    """A module or function that maps outputs and targets to a loss.

    Its result is taken as the mean over the batch if it is a scalar, as their sum if it is one of a module with
    ``reduction="sum"``, and as the loss of each sample if it is of shape (n,) or (n, k).
    """

    def __init__(self, loss: LossFunction) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, outputs: Tensor, targets: Tensor, reduction: Reduction = "sum") -> Tensor:
        """The sum over the samples, or the loss of each.

        Raises:
            UserError: the loss failed, or returned something else.
        """
        if not len(targets):  # one rank's share of a small batch, of which a mean would be NaN
            return self._of_nothing(outputs) if reduction == "sum" else outputs.sum(1)
        result = self._call(*_same_dtype(outputs, targets))
        if result.ndim:
            losses = result.flatten(1).mean(1) if result.ndim > 1 else result
            return losses.sum() if reduction == "sum" else losses
        if reduction == "none":
            return torch.stack([self(*sample) for sample in zip(outputs.split(1), targets.split(1), strict=True)])
        return result if getattr(self.loss, "reduction", None) == "sum" else result * len(targets)

    def _of_nothing(self, outputs: Tensor) -> Tensor:
        """0, with gradients of 0 for the loss's own parameters too: DDP waits until every rank has one for each parameter."""
        return outputs.sum() + sum(parameter.flatten()[:0].sum() for parameter in self.parameters())

    def _call(self, outputs: Tensor, targets: Tensor) -> Tensor:
        shapes = f"outputs of shape {tuple(outputs.shape)} and targets of shape {tuple(targets.shape)}"
        try:
            result = self.loss(outputs, targets)
        except torch.OutOfMemoryError:
            raise
        except (IndexError, RuntimeError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"task.loss: {_name(self.loss)} failed for {shapes}, {outputs.dtype} and {targets.dtype}: {reason}"
            ) from error
        if isinstance(result, Tensor) and result.is_floating_point() and result.ndim <= 2:
            if result.ndim == 0 or len(result) == len(targets):
                return result
            found = f"a tensor of shape {tuple(result.shape)}"
        elif isinstance(result, Tensor):
            found = f"a tensor of shape {tuple(result.shape)}, {result.dtype}"
        else:
            found = f"a {type(result).__name__}"
        raise UserError(
            f"task.loss: {_name(self.loss)} returned {found} for {shapes}: it must return a floating-point scalar, the mean over "
            f"the batch, or the loss of each sample, of shape ({len(targets)},) or ({len(targets)}, k)."
        )


class Standardized(Loss):
    """A loss of standardized targets.

    Args:
        loss: gets (targets - mean) / std.
        targets: number of targets of a sample.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, loss: Loss, targets: int) -> None:
        super().__init__()
        self.loss = loss
        self.register_buffer("mean", torch.zeros(targets))
        self.register_buffer("std", torch.ones(targets))

    def forward(self, outputs: Tensor, targets: Tensor, reduction: Reduction = "sum") -> Tensor:
        """The sum over the samples, or the loss of each."""
        return self.loss(outputs, (targets - self.mean) / self.std, reduction)

    def fit(self, targets: Tensor) -> None:
        """Set mean and standard deviation to those of targets (n, targets); that of a constant target to 1."""
        std, mean = torch.std_mean(targets.cpu().double(), dim=0, correction=0)
        self.mean.copy_(mean)
        self.std.copy_(std.masked_fill(std == 0, 1.0))

    def inverse(self, outputs: Tensor) -> Tensor:
        """Standardized outputs (n, targets) in the units of the targets."""
        return outputs * self.std + self.mean


def _same_dtype(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Both in the more precise of their types; labels int64 as they are."""
    if not targets.is_floating_point():
        return outputs, targets
    dtype = torch.promote_types(outputs.dtype, targets.dtype)
    return outputs.to(dtype), targets.to(dtype)


def _name(loss: str | LossFunction) -> str:
    return loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)


def make_loss(
    loss: LossName | LossFunction,
    label_smoothing: float = 0.0,
    *,
    gamma: float = GAMMA,
    weight: Tensor | None = None,
    multilabel: bool = False,
) -> Loss:
    """A loss for classification.

    Args:
        loss: its name, or a module or function.
        label_smoothing: of cross entropy.
        gamma: of the focal loss.
        weight: of each class, (classes,).
        multilabel: whether a sample may be of several classes.

    Raises:
        ConfigError: the loss has no such parameter, or is not defined for several classes of a sample.
    """
    name = _name(loss)
    if label_smoothing and loss != "cross_entropy":
        raise ConfigError(f"task.label_smoothing={label_smoothing:g} requires task.loss=cross_entropy, not {name}.")
    if gamma != GAMMA and loss != "focal":
        raise ConfigError(f"task.gamma={gamma:g} requires task.loss=focal, not {name}.")
    if not isinstance(loss, str):
        if weight is not None:
            raise ConfigError(f"task.class_weights: {name} does not get them: pass them to {name} itself.")
        if type(loss) is nn.CrossEntropyLoss and loss.reduction == "mean" and loss.ignore_index < 0 and not multilabel:
            return CrossEntropy(loss.label_smoothing, loss.weight)  # which divides by the weights of all ranks
        return Custom(loss)
    if multilabel:
        if loss not in ("binary_cross_entropy", "focal"):
            raise ConfigError(
                f"task.loss={loss} is computed for one class of each sample, and in this data set a sample may be of "
                "several: set task.loss=binary_cross_entropy or focal."
            )
        return MultilabelCrossEntropy(gamma if loss == "focal" else 0.0, weight)
    losses: dict[LossName, Callable[[], Loss]] = {
        "cross_entropy": lambda: CrossEntropy(label_smoothing, weight),
        "squared_error": lambda: SquaredError(weight),
        "binary_cross_entropy": lambda: BinaryCrossEntropy(weight),
        "focal": lambda: Focal(gamma, weight),
    }
    return losses[loss]()


def make_regression_loss(loss: RegressionLossName | LossFunction, delta: float = DELTA) -> Loss:
    """A loss for regression.

    Args:
        loss: its name, or a module or function.
        delta: of the Huber loss.

    Raises:
        ConfigError: ``delta`` is set for another loss.
    """
    name = _name(loss)
    if delta != DELTA and loss != "huber":
        raise ConfigError(f"task.delta={delta:g} requires task.loss=huber, not {name}.")
    functions: dict[RegressionLossName, LossFunction] = {
        "mse": partial(F.mse_loss, reduction="none"),
        "mae": partial(F.l1_loss, reduction="none"),
        "huber": partial(F.huber_loss, reduction="none", delta=delta),
    }
    return Elementwise(functions[loss]) if isinstance(loss, str) else Custom(loss)


def outputs_for(loss: object, classes: int, multilabel: bool = False) -> int:
    """The number of outputs of a network: one for each class, or a single one for binary cross entropy of two classes.

    Raises:
        ConfigError: binary cross entropy is computed for two classes, and there are others.
    """
    if loss != "binary_cross_entropy" or multilabel:
        return classes
    if classes != 2:
        raise ConfigError(
            f"task.loss=binary_cross_entropy requires two classes, and this data set has {classes}: set "
            "task.loss=cross_entropy, or data=points."
        )
    return 1


def predicted(logits: Tensor) -> Tensor:
    """The class each row of logits stands for, int64 (n,): the largest, or whether the single one is above 0.5."""
    return (logits.squeeze(1) > 0).long() if logits.shape[1] == 1 else logits.argmax(1)


def columns(logits: Tensor) -> Tensor:
    """One score a class, (n, classes), whose softmax is ``probabilities``: a single output is shared out among the two."""
    return torch.cat([-logits / 2, logits / 2], 1) if logits.shape[1] == 1 else logits


def probabilities(logits: Tensor) -> Tensor:
    """The share of each class, (n, classes): by softmax, or by the sigmoid of a single output, whatever the loss."""
    if logits.shape[1] == 1:
        second = torch.sigmoid(logits)
        return torch.cat([1 - second, second], 1)
    return torch.softmax(logits, 1)
