"""Classification: an ordinary LightningModule around a network that maps samples to logits."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from src.bounds import FractionBelowOne, Positive
from src.errors import ConfigError, NonFiniteLoss, UserError
from src.optim.schedules import interval_of
from src.tasks.losses import DEFAULT, LossName, make_loss, outputs_for, predicted

_REMEDY = ": lower optimizer.lr, or set task.gradient_clip_norm=1."


class _Mean(MeanMetric):
    """torchmetrics' mean, which would take values in float32 again after it has been moved to a device."""

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the sum."""
        return self.mean_value.dtype


class Classifier(pl.LightningModule):
    """Trains a network on batches of samples (n, *input_shape) and labels int64 (n,).

    Logs ``train/loss``, ``train/acc``, ``val/loss``, ``val/acc``, ``test/loss`` and ``test/acc``, each exact for all samples
    of an epoch on any number of ranks.

    Args:
        net: maps samples to logits (n, classes); (n, 1) for binary_cross_entropy.
        classes: number of classes.
        optimizer: builds the optimizer from the parameters; needed only for training.
        schedule: builds the learning rate schedule from the optimizer, or returns None. It is stepped after every optimizer
            step or every epoch, see ``interval_of``; ``ReduceLROnPlateau`` with the metric named by its attribute ``monitor``.
    """

    # Every metric, without its stage, and its mode; the one that is monitored; what the data module says.
    metrics: ClassVar[Mapping[str, str]] = {"loss": "min", "acc": "max"}
    monitor: ClassVar[str] = "acc"
    from_data: ClassVar[tuple[str, ...]] = ("classes",)

    @staticmethod
    def outputs(data: Any, settings: Mapping[str, Any]) -> int:
        """The number of outputs of a network for a data module, with these settings of the task."""
        return outputs_for(settings.get("loss", DEFAULT), data.classes)

    def __init__(
        self,
        *,
        net: nn.Module,
        classes: int,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] | None = None,
        schedule: Callable[[Optimizer], LRScheduler | None] | None = None,
        loss: Annotated[LossName, "loss function"] = DEFAULT,
        label_smoothing: Annotated[
            FractionBelowOne, "for cross_entropy: share of the target probability spread over all classes"
        ] = 0.0,
        gradient_clip_norm: Annotated[
            Positive | None, "maximum 2-norm of all gradients together; null: no clipping"
        ] = None,
    ) -> None:
        super().__init__()
        self.net, self.optimizer, self.schedule = net, optimizer, schedule
        self.loss = make_loss(loss, label_smoothing)  # summed over the samples
        self._outputs = outputs_for(loss, classes)
        self.gradient_clip_norm = gradient_clip_norm
        # Updated with values of all ranks, so that they must not be synchronised again.
        self.train_loss, self.train_acc = _Mean(sync_on_compute=False), _Mean(sync_on_compute=False)
        self.val_loss, self.test_loss = _Mean(), _Mean()
        self.val_acc = MulticlassAccuracy(max(2, classes), average="micro", validate_args=False)
        self.test_acc = MulticlassAccuracy(max(2, classes), average="micro", validate_args=False)

    def setup(self, stage: str) -> None:
        """Sum up means in float64, except on Apple's GPUs, which do not have it."""
        dtype = torch.float32 if self.trainer.strategy.root_device.type == "mps" else torch.float64
        for mean in (self.train_loss, self.train_acc, self.val_loss, self.test_loss):
            mean.set_dtype(dtype)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map normalised samples (n, *input_shape) to logits (n, outputs).

        Raises:
            UserError: the network returned something else, on which a loss might be computed all the same.
        """
        logits, expected = self.net(inputs), (inputs.shape[0], self._outputs)  # len() would fix the size in an export
        if isinstance(logits, Tensor) and logits.shape == expected:
            return logits
        kind = type(logits).__name__
        found = f"a tensor of shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else f"a {kind}"
        raise UserError(
            f"{type(self.net).__name__} returned {found} for {expected[0]} samples: its forward must return one tensor of "
            f"logits, of shape {expected}."
        )

    def configure_optimizers(self) -> Any:
        """Build the optimizer and its schedule."""
        if self.optimizer is None:
            raise ValueError("this Classifier was built without an optimizer: it can be evaluated, not trained.")
        optimizer = self.optimizer(self.parameters())
        schedule = self.schedule(optimizer) if self.schedule else None
        if schedule is None:
            return optimizer
        if (
            isinstance(schedule, ReduceLROnPlateau) and self.automatic_optimization
        ):  # for which Lightning requires a monitor
            return [optimizer], [{"scheduler": schedule, "interval": "epoch", "monitor": schedule.monitor}]  # type: ignore[attr-defined]
        return [optimizer], [{"scheduler": schedule, "interval": interval_of(schedule)}]

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Step a schedule; one that is stepped after every epoch is stepped by ``on_train_epoch_end``."""
        if interval_of(scheduler) == "step":
            scheduler.step()

    def configure_gradient_clipping(self, optimizer: Optimizer, *_: Any, **__: Any) -> None:
        """Clip the gradients by ``gradient_clip_norm``."""
        if self.gradient_clip_norm is None:
            return
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        if scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False):
            scaler.unscale_(optimizer)  # fused optimizers leave this to their own step
        nn.utils.clip_grad_norm_(self.parameters(), self.gradient_clip_norm)

    def on_fit_start(self) -> None:
        """Refuse batch normalisation over a share of each batch; on GPUs it is synchronised.

        Raises:
            ConfigError: the network has such a layer, and there are several processes on the CPU.
        """
        normalises = any(isinstance(module, _BatchNorm) for module in self.net.modules())
        if normalises and self.trainer.world_size > 1 and self.device.type == "cpu":
            raise ConfigError(
                f"batch normalisation on {self.trainer.world_size} CPU processes would normalise each share of a batch by "
                "itself and change the training: use layer or group normalisation, or set trainer.devices=1."
            )

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Any]:
        """Compute the loss of a batch, of which every rank has a share.

        Returns:
            ``loss``, whose gradient averaged over the ranks is that of the batch's mean; ``train/loss`` and ``train/acc``,
            means over the batch on all ranks.

        Raises:
            NonFiniteLoss: the loss is NaN or Inf.
        """
        inputs, labels = batch
        logits = self(inputs)
        loss = self.loss(logits, labels)
        correct = (predicted(logits) == labels).sum()
        loss_sum, all_correct, samples = self.sum_over_ranks(
            loss.unsqueeze(0), correct, correct.new_tensor(len(labels))
        )
        metrics = self.update_train_metrics(
            self.global_step, [loss_sum / samples], [int(samples)], all_correct, reset=batch_idx == 0
        )
        return {"loss": loss * (self.trainer.world_size / samples), **metrics}

    # The next two also serve src.fast.classification, where a batch holds many steps.
    def sum_over_ranks(self, losses: Tensor, *counts: Tensor) -> list[float]:
        """The sum over all ranks of each loss (n,) and of each count."""
        dtype = torch.promote_types(losses.dtype, torch.float32)  # bfloat16 would round the counts
        values = torch.cat([losses.detach().to(dtype), torch.stack(counts).to(dtype)])
        if self.trainer.world_size > 1:
            values = self.trainer.strategy.reduce(values, reduce_op="sum")
        return values.tolist()

    def update_train_metrics(
        self, first_step: int, losses: Sequence[float], samples: Sequence[int], correct: float, reset: bool
    ) -> dict[str, float]:
        """Add steps to the epoch's ``train_loss`` and ``train_acc``.

        Args:
            first_step: number of the first of them, counted from the start of the training.
            losses: mean loss of each step over all ranks.
            samples: number of samples of each step on all ranks.
            correct: number of them that are classified correctly.
            reset: whether they are the epoch's first. A run resumed within an epoch continues its means.

        Returns:
            ``train/loss`` and ``train/acc`` of these steps.

        Raises:
            NonFiniteLoss: a loss is NaN or Inf.
        """
        if reset:
            self.train_loss.reset()
            self.train_acc.reset()
        for step, loss in enumerate(losses, first_step):
            if not math.isfinite(loss):
                raise NonFiniteLoss(
                    f"train/loss became {loss} at step {step}, in epoch {self.current_epoch + 1}{_REMEDY}"
                )
        total = sum(samples)
        mean = sum(loss * count for loss, count in zip(losses, samples, strict=True)) / total
        self.train_loss.update(mean, total)
        self.train_acc.update(correct / total, total)
        return {"train/loss": mean, "train/acc": correct / total}

    def on_train_epoch_end(self) -> None:
        """Log the epoch's means and step a plateau schedule, before the epoch's checkpoint is saved.

        Raises:
            NonFiniteLoss: the epoch's last step made a weight NaN or Inf.
        """
        if not all(bool(parameter.isfinite().all()) for parameter in self.parameters()):
            raise NonFiniteLoss(f"a weight is NaN or Inf after step {self.global_step - 1}{_REMEDY}")
        means = self.epoch_means()
        self.log("train/loss", self.train_loss, logger=False)
        self.log("train/acc", self.train_acc, logger=False)
        # Lightning would write them after the epoch's checkpoint, and a run killed in between would lack the point.
        for logger in self.trainer.loggers:
            logger.log_metrics(means, self.global_step)
        schedule: Any = self.lr_schedulers()  # Lightning would step it after the checkpoint
        if isinstance(schedule, ReduceLROnPlateau):
            metrics: dict[str, Any] = {**self.trainer.callback_metrics, **means}
            schedule.step(float(metrics[schedule.monitor]))  # type: ignore[attr-defined]
        elif schedule is not None and interval_of(schedule) == "epoch":
            schedule.step()

    def epoch_means(self) -> dict[str, float]:
        """``train/loss`` and ``train/acc`` over the epoch so far, for callbacks that come before ``on_train_epoch_end``."""
        return {"train/loss": self.train_loss.compute().item(), "train/acc": self.train_acc.compute().item()}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the epoch's means so far, so that a run resumed within an epoch reports those of the whole epoch."""
        checkpoint["means"] = {name: dict(getattr(self, name).metric_state) for name in ("train_loss", "train_acc")}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the epoch's means."""
        for name, state in checkpoint.get("means", {}).items():
            for key, value in state.items():
                setattr(getattr(self, name), key, value)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Update ``val/loss`` and ``val/acc``."""
        self._evaluate(batch, "val", self.val_loss, self.val_acc)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor] | None:
        """Update ``test/loss`` and ``test/acc``; returns the ``logits``, or None if this rank has no sample of the batch."""
        logits = self._evaluate(batch, "test", self.test_loss, self.test_acc)
        return None if logits is None else {"logits": logits}

    def _evaluate(
        self, batch: tuple[Tensor, Tensor], stage: str, loss: MeanMetric, acc: MulticlassAccuracy
    ) -> Tensor | None:
        inputs, labels = batch
        logits = None
        if len(labels):  # the last batch may be too small for every rank to get a sample
            logits = self(inputs)
            loss.update(self.loss(logits, labels) / len(labels), len(labels))
            acc.update(predicted(logits), labels)
        self.log(f"{stage}/loss", loss)
        self.log(f"{stage}/acc", acc)
        return logits

    def on_validation_epoch_end(self) -> None:
        """Raise ``NonFiniteLoss`` if ``val/loss`` is NaN or Inf."""
        self._check_finite("val/loss", self.val_loss)

    def on_test_epoch_end(self) -> None:
        """Raise ``NonFiniteLoss`` if ``test/loss`` is NaN or Inf."""
        self._check_finite("test/loss", self.test_loss)

    def _check_finite(self, name: str, loss: MeanMetric) -> None:
        if not math.isfinite(value := float(loss.compute())):
            raise NonFiniteLoss(f"{name} became {value} after step {self.global_step - 1}{_REMEDY}")
