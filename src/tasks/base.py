"""Base class of the tasks: a LightningModule that trains a network with a loss and measures metrics."""

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torchmetrics import Metric

from src.bounds import Mode, Positive
from src.data.module import TensorData
from src.errors import ConfigError, NonFiniteLoss, UserError
from src.optim.schedules import interval_of
from src.tasks.losses import Loss
from src.tasks.metrics import Mean

_REMEDY = ": lower optimizer.lr, or set task.gradient_clip_norm=1."

MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]
MakeSchedule = Callable[[Optimizer], LRScheduler | None]
ClipNorm = Annotated[Positive | None, "maximum 2-norm of all gradients together; null: no clipping"]


def with_single_labels(data: pl.LightningDataModule, task: str) -> TensorData:
    """Check that a data module is a data set in memory with one class for each sample, and return it.

    Args:
        data: the data module.
        task: the choice that requires it, for the error.

    Raises:
        ConfigError: it is another one.
    """
    if not isinstance(data, TensorData) or not data.classes or data.multilabel:
        raise ConfigError(
            f"task={task} requires a data set in memory with one class for each sample, and {type(data).__name__} is none: set "
            "task=classification."
        )
    return data


class SupervisedTask(pl.LightningModule):
    """Trains a network on batches of samples (n, *input_shape) and targets.

    Logs the loss as ``train/loss``, ``val/loss`` and ``test/loss``, and metrics, each exact for all samples of an epoch on any
    number of ranks.

    Args:
        net: maps samples to outputs (n, num_outputs).
        num_outputs: number of outputs per sample.
        loss: maps outputs and targets to a loss.
        metrics: metrics of validation and test, by name; see ``update_metrics``.
        train_metrics: names of the training metrics besides the loss; see ``train_sums``.
        optimizer: builds the optimizer from the parameters; needed only for training.
        schedule: builds the learning rate schedule from the optimizer, or returns None. It is stepped after every optimizer
            step or every epoch, see ``interval_of``; ``ReduceLROnPlateau`` gets the metric named by its attribute ``monitor``.
        gradient_clip_norm: maximum 2-norm of all gradients together.

    Attributes:
        from_data: constructor parameters that are passed from attributes of the data module.
        metrics: mode, min or max, of every metric that may be logged, by name without the stage.
        monitor: name of the metric that selects the best checkpoint.
    """

    from_data: ClassVar[tuple[str, ...]] = ()
    metrics: ClassVar[Mapping[str, Mode]] = {"loss": "min"}
    monitor: ClassVar[str] = "loss"

    def __init__(
        self,
        *,
        net: nn.Module,
        num_outputs: int,
        loss: Loss,
        metrics: Mapping[str, Metric],
        train_metrics: Sequence[str] = (),
        optimizer: MakeOptimizer | None,
        schedule: MakeSchedule | None,
        gradient_clip_norm: float | None,
    ) -> None:
        super().__init__()
        self.net, self.optimizer, self.schedule = net, optimizer, schedule
        self.num_outputs = num_outputs
        self.loss = loss
        self.gradient_clip_norm = gradient_clip_norm
        # Updated with values summed over all ranks, so they must not be synchronised again.
        self.train_means = nn.ModuleDict({name: Mean(sync_on_compute=False) for name in ("loss", *train_metrics)})
        self.val_loss, self.test_loss = Mean(), Mean()
        self.val_metrics = nn.ModuleDict(dict(metrics))
        self.test_metrics = copy.deepcopy(self.val_metrics)

    @staticmethod
    def outputs(data: pl.LightningDataModule, settings: Mapping[str, Any]) -> int:
        """The number of outputs that the network needs for a data module, given the task's settings.

        Raises:
            ConfigError: the data set is of another task.
        """
        raise NotImplementedError

    # Methods that subclasses override.
    def check_targets(self, targets: Tensor) -> None:
        """Raise ``DataError`` if targets of a batch are invalid. Not called for a ``TensorData``, which checks its labels."""
        raise NotImplementedError

    def training_loss(self, inputs: Tensor, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss that is minimized in Lightning's own loop, summed over the samples."""
        return self.loss(outputs, targets)

    def outputs_and_targets(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The outputs for a batch, and the targets that they are compared with."""
        return self(inputs), targets

    def train_sums(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Each of the ``train_metrics`` by name, summed over the samples."""
        return {}

    def update_metrics(self, metrics: nn.ModuleDict, outputs: Tensor, targets: Tensor) -> None:
        """Update each metric with the samples of this rank, of which there may be none."""
        raise NotImplementedError

    @property
    def sum_dtype(self) -> torch.dtype:
        """The dtype of accumulated sums: float64, except on MPS, which does not support it."""
        return torch.float32 if self.trainer.strategy.root_device.type == "mps" else torch.float64

    def setup(self, stage: str) -> None:
        """Set the precision of the means, and whether targets are checked."""
        for mean in (*self.train_means.values(), self.val_loss, self.test_loss):
            mean.set_dtype(self.sum_dtype)  # type: ignore[operator]
        self._checks_targets = not isinstance(self.trainer.datamodule, TensorData)  # type: ignore[attr-defined]

    def forward(self, inputs: Tensor) -> Tensor:
        """Map normalised samples (n, *input_shape) to outputs (n, num_outputs).

        Raises:
            UserError: the network returned another type or shape, for which some losses would compute a value.
        """
        outputs = self.net(inputs)
        expected = (inputs.shape[0], self.num_outputs)  # len() would make the batch size static in an export
        if isinstance(outputs, Tensor) and outputs.shape == expected:
            return outputs
        kind = type(outputs).__name__
        found = f"a tensor of shape {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else f"a {kind}"
        raise UserError(
            f"{type(self.net).__name__} returned {found} for {expected[0]} samples: its forward must return one tensor of "
            f"shape {expected}."
        )

    def configure_optimizers(self) -> Any:
        """Build the optimizer and its schedule."""
        if self.optimizer is None:
            raise ValueError(
                f"this {type(self).__name__} was built without an optimizer: it can be evaluated, not trained."
            )
        optimizer = self.optimizer(self.parameters())
        schedule = self.schedule(optimizer) if self.schedule else None
        if schedule is None:
            return optimizer
        if (
            isinstance(schedule, ReduceLROnPlateau) and self.automatic_optimization
        ):  # Lightning requires a monitor for it
            return [optimizer], [{"scheduler": schedule, "interval": "epoch", "monitor": schedule.monitor}]  # type: ignore[attr-defined]
        return [optimizer], [{"scheduler": schedule, "interval": interval_of(schedule)}]

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Step a schedule whose interval is ``step``; ``on_train_epoch_end`` steps those whose interval is ``epoch``."""
        if interval_of(scheduler) == "step":
            scheduler.step()

    def configure_gradient_clipping(self, optimizer: Optimizer, *_: Any, **__: Any) -> None:
        """Clip the gradients by ``gradient_clip_norm``."""
        if self.gradient_clip_norm is None:
            return
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        if scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False):
            scaler.unscale_(optimizer)  # which fused optimizers would do only in their step
        nn.utils.clip_grad_norm_(self.parameters(), self.gradient_clip_norm)

    def on_fit_start(self) -> None:
        """Refuse batch normalisation over part of each batch; on GPUs it is synchronised.

        Raises:
            ConfigError: the network has a batch normalisation layer, and there are several processes on the CPU.
        """
        normalises = any(isinstance(module, _BatchNorm) for module in self.net.modules())
        if normalises and self.trainer.world_size > 1 and self.device.type == "cpu":
            raise ConfigError(
                f"batch normalisation on {self.trainer.world_size} CPU processes would normalise each share of a batch by "
                "itself and change the training: use layer or group normalisation, or set trainer.devices=1."
            )

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Any]:
        """Compute the loss of this rank's part of a batch.

        Returns:
            ``loss``, whose gradient, averaged over the ranks, is that of the mean over the global batch; ``train/loss`` and the
            other training metrics, means over the global batch.

        Raises:
            NonFiniteLoss: the loss is NaN or Inf.
        """
        inputs, targets = self._checked(batch)
        outputs, targets = self.outputs_and_targets(inputs, targets)
        loss = self.training_loss(inputs, outputs, targets)
        count = torch.tensor(len(targets), device=loss.device)
        weights = self.loss.sample_weights(targets)
        weight = count if weights is None else weights.sum()
        sums = self.train_sums(outputs, targets)
        loss_sum, total, samples, *sums_over_ranks = self.sum_over_ranks(
            loss.unsqueeze(0), weight, count, *sums.values()
        )
        metrics = self.update_train_metrics(
            self.global_step,
            [loss_sum / total],
            [total],
            dict(zip(sums, sums_over_ranks, strict=True)),
            samples,
            reset=batch_idx == 0,
        )
        return {"loss": loss * (self.trainer.world_size / total), **metrics}

    def _checked(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        if self._checks_targets:
            self.check_targets(batch[1])
        return batch

    # The next two are also used by src.fast.classification, where a batch contains many steps.
    def sum_over_ranks(self, losses: Tensor, *sums: Tensor) -> list[float]:
        """Sum each loss (n,) and each further value over all ranks."""
        dtype = torch.promote_types(losses.dtype, torch.float32)  # bfloat16 would round the counts
        values = losses.detach().to(dtype)
        if sums:
            values = torch.cat([values, torch.stack(sums).to(dtype)])
        if self.trainer.world_size > 1:
            values = self.trainer.strategy.reduce(values, reduce_op="sum")
        return values.tolist()

    def update_train_metrics(
        self,
        first_step: int,
        losses: Sequence[float],
        weights: Sequence[float],
        sums: Mapping[str, float],
        samples: float,
        reset: bool,
    ) -> dict[str, float]:
        """Update the epoch's means with several steps.

        Args:
            first_step: number of the first step, counted from the start of the training.
            losses: mean loss of each step over all ranks.
            weights: sum of the sample weights of each step over all ranks; the number of samples if they are unweighted.
            sums: see ``train_sums``, summed over all steps and ranks.
            samples: number of samples of all steps on all ranks.
            reset: whether these are the first steps of the epoch. A run resumed within an epoch continues the means.

        Returns:
            ``train/loss`` and the other training metrics of these steps.

        Raises:
            NonFiniteLoss: a loss is NaN or Inf.
        """
        if reset:
            for mean in self.train_means.values():
                mean.reset()  # type: ignore[operator]
        for step, loss in enumerate(losses, first_step):
            if not math.isfinite(loss):
                raise NonFiniteLoss(
                    f"train/loss became {loss} at step {step}, in epoch {self.current_epoch + 1}{_REMEDY}"
                )
        total = sum(weights)
        means = {"loss": sum(loss * weight for loss, weight in zip(losses, weights, strict=True)) / total}
        self.train_means["loss"].update(means["loss"], total)  # type: ignore[operator]
        for name, value in sums.items():
            means[name] = value / samples
            self.train_means[name].update(means[name], samples)  # type: ignore[operator]
        return {f"train/{name}": mean for name, mean in means.items()}

    def epoch_means(self) -> dict[str, float]:
        """``train/loss`` and the other training metrics over the epoch so far, for callbacks, whose hooks run before
        ``on_train_epoch_end`` of the task.
        """
        return {f"train/{name}": mean.compute().item() for name, mean in self.train_means.items()}  # type: ignore[operator]

    def on_train_epoch_end(self) -> None:
        """Log the epoch's means and step a schedule whose interval is ``epoch``, before the epoch's checkpoint is saved.

        Raises:
            NonFiniteLoss: a weight is NaN or Inf after the epoch's last step.
        """
        if not all(bool(parameter.isfinite().all()) for parameter in self.parameters()):
            raise NonFiniteLoss(f"a weight is NaN or Inf after step {self.global_step - 1}{_REMEDY}")
        means = self.epoch_means()
        for name, mean in self.train_means.items():
            self.log(f"train/{name}", mean)  # type: ignore[arg-type]
        schedule: Any = self.lr_schedulers()  # Lightning would step it after the checkpoint
        if isinstance(schedule, ReduceLROnPlateau):
            metrics: dict[str, Any] = {**self.trainer.callback_metrics, **means}
            schedule.step(float(metrics[schedule.monitor]))  # type: ignore[attr-defined]
        elif schedule is not None and interval_of(schedule) == "epoch":
            schedule.step()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the epoch's means so far, so that a run resumed within an epoch reports those of the whole epoch."""
        checkpoint["means"] = {f"train_{name}": dict(mean.metric_state) for name, mean in self.train_means.items()}  # type: ignore[arg-type]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the epoch's means."""
        for name, state in checkpoint.get("means", {}).items():
            for key, value in state.items():
                setattr(self.train_means[name.removeprefix("train_")], key, value)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Update ``val/loss`` and the metrics."""
        self.evaluate(batch, "val", self.val_loss, self.val_metrics)

    def evaluate(self, batch: tuple[Tensor, Tensor], stage: str, loss: Mean, metrics: nn.ModuleDict) -> Tensor | None:
        """Update and log loss and metrics; returns the outputs, or None if this rank has no sample of the batch."""
        inputs, targets = self._checked(batch)
        if len(targets):  # the last batch may have fewer samples than there are ranks
            outputs, targets = self.outputs_and_targets(inputs, targets)
            weights = self.loss.sample_weights(targets)
            weight = len(targets) if weights is None else weights.sum()
            loss.update(self.loss(outputs, targets) / weight, weight)
        else:
            outputs = torch.empty(0, self.num_outputs, device=self.device)
        self.update_metrics(metrics, outputs, targets)
        self.log(f"{stage}/loss", loss)
        for name, metric in metrics.items():
            self.log(f"{stage}/{name}", metric)  # type: ignore[arg-type]
        return outputs if len(targets) else None

    def on_validation_epoch_end(self) -> None:
        """Raise ``NonFiniteLoss`` if ``val/loss`` is NaN or Inf."""
        self._check_finite("val/loss", self.val_loss)

    def on_test_epoch_end(self) -> None:
        """Raise ``NonFiniteLoss`` if ``test/loss`` is NaN or Inf."""
        self._check_finite("test/loss", self.test_loss)

    def _check_finite(self, name: str, loss: Mean) -> None:
        if not math.isfinite(value := float(loss.compute())):
            raise NonFiniteLoss(f"{name} became {value} after step {self.global_step - 1}{_REMEDY}")
