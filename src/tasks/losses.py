"""Loss functions of outputs (n, outputs) and targets, summed over the samples or per sample (n,)."""

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
# Defaults of parameters that only one loss has.
GAMMA, DELTA = 2.0, 1.0


class Loss(nn.Module):
    """Base class of all losses.

    The mean over a batch is the sum over the samples divided by the sum of their weights, or by their number if unweighted.

    Attributes:
        weight: weight of each class, (classes,), or None.
    """

    weight: Tensor | None

    def __init__(self, weight: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("weight", weight)

    def forward(self, outputs: Tensor, targets: Tensor, reduction: Reduction = "sum") -> Tensor:
        """The loss summed over the samples, or with ``reduction="none"`` of each sample, (n,)."""
        raise NotImplementedError

    def sample_weights(self, targets: Tensor) -> Tensor | None:
        """The weight of each sample (n,), which its loss already includes; None if unweighted."""
        return None if self.weight is None else self.weight[targets]

    def _reduced(self, losses: Tensor, targets: Tensor, reduction: Reduction) -> Tensor:
        """Weight losses (n,) by the classes of the samples, int64 (n,), and reduce them."""
        weights = self.sample_weights(targets)
        losses = losses if weights is None else losses * weights
        return losses.sum() if reduction == "sum" else losses


class CrossEntropy(Loss):
    """Softmax cross entropy with optional label smoothing, as ``torch.nn.CrossEntropyLoss``."""

    def __init__(self, label_smoothing: float = 0.0, weight: Tensor | None = None) -> None:
        super().__init__(weight)
        self.label_smoothing = label_smoothing

    def forward(self, outputs: Tensor, targets: Tensor, reduction: Reduction = "sum") -> Tensor:
        """The sum over the samples, or the loss of each."""
        smoothing = self.label_smoothing
        return F.cross_entropy(outputs, targets, self.weight, reduction=reduction, label_smoothing=smoothing)

    def smoothed(self, targets: Tensor) -> Tensor:
        """Apply the label smoothing to one-hot targets (n, outputs)."""
        if not self.label_smoothing:
            return targets
        return targets * (1 - self.label_smoothing) + self.label_smoothing / targets.shape[1]


class SquaredError(Loss):
    """Half the sum of squared errors of sigmoid outputs against one-hot targets, or against the label if there is one output."""

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
    """Focal loss: softmax cross entropy times (1 - p) ** gamma, with p the probability of the true class (Lin et al. 2017,
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
    # 1 - p from log p, clamped above 0, where a power below 1 has an infinite gradient.
    wrong = (-torch.expm1(-cross_entropies)).clamp(min=torch.finfo(cross_entropies.dtype).tiny)
    return wrong**gamma * cross_entropies


class Elementwise(Loss):
    """Elementwise loss against targets (n, outputs), averaged over the outputs of each sample.

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
    """Sigmoid cross entropy against targets of 0 and 1 (n, classes), averaged over the classes.

    Args:
        weight: weight of the positive targets of each class, as ``pos_weight`` of ``torch.nn.BCEWithLogitsLoss``.
        gamma: exponent of the focal loss; 0 for cross entropy.
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
    """User-defined loss: a module or function of outputs and targets.

    A scalar result is interpreted as the mean over the batch, or as the sum if the module has ``reduction="sum"``; a result
    of shape (n,) or (n, k) as the loss of each sample.
    """

    def __init__(self, loss: LossFunction) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, outputs: Tensor, targets: Tensor, reduction: Reduction = "sum") -> Tensor:
        """The loss summed over the samples, or of each sample.

        Raises:
            UserError: the loss raised an error, or returned another type or shape.
        """
        if not len(targets):  # a rank without samples of a small batch: a mean would be NaN
            return self._of_nothing(outputs) if reduction == "sum" else outputs.sum(1)
        result = self._call(*_same_dtype(outputs, targets))
        if result.ndim:
            losses = result.flatten(1).mean(1) if result.ndim > 1 else result
            return losses.sum() if reduction == "sum" else losses
        if reduction == "none":
            return torch.stack([self(*sample) for sample in zip(outputs.split(1), targets.split(1), strict=True)])
        return result if getattr(self.loss, "reduction", None) == "sum" else result * len(targets)

    def _of_nothing(self, outputs: Tensor) -> Tensor:
        """A loss of 0 with zero gradients, including the loss's parameters: DDP waits for a gradient of each on every rank."""
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
    """Applies a loss to standardized targets.

    Args:
        loss: called with ``(targets - mean) / std``.
        targets: number of targets per sample.
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
        """Set mean and standard deviation from targets (n, targets); the latter is 1 for a constant target."""
        std, mean = torch.std_mean(targets.cpu().double(), dim=0, correction=0)
        self.mean.copy_(mean)
        self.std.copy_(std.masked_fill(std == 0, 1.0))

    def inverse(self, outputs: Tensor) -> Tensor:
        """Convert standardized outputs (n, targets) to the units of the targets."""
        return outputs * self.std + self.mean


def _same_dtype(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Promote both to the more precise floating-point dtype; int64 labels are unchanged."""
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
    """Create a loss for classification.

    Args:
        loss: the name of a loss, or a module or function.
        label_smoothing: label smoothing of cross entropy.
        gamma: exponent of the focal loss.
        weight: weight of each class, (classes,).
        multilabel: whether a sample may belong to several classes.

    Raises:
        ConfigError: a parameter is set that the loss does not have, or the loss is not defined for multi-label targets.
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
            return CrossEntropy(loss.label_smoothing, loss.weight)  # whose mean divides by the weights of all ranks
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
    """Create a loss for regression.

    Args:
        loss: the name of a loss, or a module or function.
        delta: threshold of the Huber loss.

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
    """The number of outputs of a network: one per class, or a single one for binary cross entropy.

    Raises:
        ConfigError: binary cross entropy is set, and the number of classes is not two.
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
    """The predicted class of each row of logits, int64 (n,): the argmax, or whether the sigmoid of a single output is above 0.5."""
    return (logits.squeeze(1) > 0).long() if logits.shape[1] == 1 else logits.argmax(1)


def columns(logits: Tensor) -> Tensor:
    """Logits of all classes, (n, classes), whose softmax is ``probabilities``; a single output is expanded to two classes."""
    return torch.cat([-logits / 2, logits / 2], 1) if logits.shape[1] == 1 else logits


def probabilities(logits: Tensor) -> Tensor:
    """The probability of each class, (n, classes): softmax, or the sigmoid of a single output, for any loss."""
    if logits.shape[1] == 1:
        second = torch.sigmoid(logits)
        return torch.cat([1 - second, second], 1)
    return torch.softmax(logits, 1)
