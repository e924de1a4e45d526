"""The LightningModule that trains any network to classify, several optimizer steps at a time."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from src.config.targets import build
from src.data.chunks import Chunk
from src.data.module import TensorData
from src.errors import ConfigError, NonFiniteLoss, UserError
from src.tasks.losses import make_loss, predicted

_REMEDY = ": lower optimizer.lr, or set task.gradient_clip_norm=1."


class _Mean(MeanMetric):
    """torchmetrics' mean, which takes values in float32 again once it has been moved to a device."""

    @property
    def dtype(self) -> torch.dtype:
        """The precision in which values are summed up: that of the sum."""
        return self.mean_value.dtype


class StepTaker(Protocol):
    """Takes the optimizer steps of a training; ``src.fast.steps.Steps`` is one."""

    learning_rates: list[float]

    def take(self, chunk: Chunk) -> tuple[Tensor, Tensor]:
        """Take a step for each batch of a chunk; returns the losses (steps,) and the logits (samples, classes)."""

    def clip(self) -> None:
        """Clip the gradients by ``gradient_clip_norm``."""


class Classifier(pl.LightningModule):
    """Trains a network on chunks of batches and measures it.

    Lightning's own loop costs several times the step of a small network, so one Lightning batch carries several
    optimizer steps. What Lightning then no longer does (clipping, schedules, seeding) is done here, per step.

    Everything it is built from is plain data and is kept in its checkpoints, so ``Classifier.load_from_checkpoint(path)``
    needs nothing else.

    Args:
        net: ``_target_`` and arguments of the network, which maps (n, *input_shape) to logits (n, classes).
        optimizer: ``_target_`` and arguments of the optimizer; needed only to train.
        schedule: ``_target_`` and arguments of a function in ``src.optim.schedules``; None keeps the rate.
        loss: cross_entropy, squared_error or binary_cross_entropy.
        label_smoothing: for cross_entropy, how much of the target is spread over all classes.
        gradient_clip_norm: the largest 2-norm of all gradients together; None does not clip.
        mean: subtracted from raw inputs.
        std: raw inputs are divided by it.
        seed: decides what dropout leaves out, step by step.
    """

    def __init__(
        self,
        *,
        net: Mapping[str, Any],
        optimizer: Mapping[str, Any] | None = None,
        schedule: Mapping[str, Any] | None = None,
        loss: str = "cross_entropy",
        label_smoothing: float = 0.0,
        gradient_clip_norm: float | None = None,
        mean: float = 0.0,
        std: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.automatic_optimization = False
        self.make_steps: Callable[[Classifier], StepTaker] | None = None  # must be set before training
        self.optimizer_node, self.schedule_node = optimizer, schedule
        self.gradient_clip_norm, self.mean, self.std, self.seed = gradient_clip_norm, mean, std, seed
        self.net: nn.Module = build(net, "model")
        self.loss = make_loss(loss, label_smoothing)
        classes = max(2, net["outputs"])  # a single output tells two classes apart
        # Pooled over the ranks before they arrive, so they must not be synchronised again.
        self.train_loss = _Mean(sync_on_compute=False)
        self.train_acc = _Mean(sync_on_compute=False)
        self.val_loss, self.test_loss = _Mean(), _Mean()
        self.val_acc = MulticlassAccuracy(classes, average="micro", validate_args=False)
        self.test_acc = MulticlassAccuracy(classes, average="micro", validate_args=False)

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: str | Path, **kwargs: Any) -> "Classifier":  # type: ignore[override]
        """Rebuild a trained classifier from a checkpoint file: plain data only, on the CPU unless ``map_location`` says.

        Raises:
            FileNotFoundError: there is no such file; addresses on a network are refused so.
        """
        path = Path(checkpoint_path)
        if not path.is_file():
            raise FileNotFoundError(f"{checkpoint_path} is not a checkpoint file.")
        return super().load_from_checkpoint(path, **{"map_location": "cpu", **kwargs, "weights_only": True})

    def setup(self, stage: str) -> None:
        """Let the means be summed up in float64, except on Apple's GPUs, which do not have it."""
        dtype = torch.float32 if self.trainer.strategy.root_device.type == "mps" else torch.float64
        for mean in (self.train_loss, self.train_acc, self.val_loss, self.test_loss):
            mean.set_dtype(dtype)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the epoch's means so far, so that a run cut off within an epoch reports all of it."""
        checkpoint["means"] = {name: dict(getattr(self, name).metric_state) for name in ("train_loss", "train_acc")}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with them."""
        for name, state in checkpoint.get("means", {}).items():
            for key, value in state.items():
                setattr(getattr(self, name), key, value)

    def preprocess(self, inputs: Tensor) -> Tensor:
        """Raw samples, such as uint8 grey values, as the network takes them: same shape, floating point."""
        # Converted first: torch subtracts a number from bytes four times slower than from what it converts them to.
        floats = inputs.to(torch.float64 if self.dtype == torch.float64 else torch.float32, copy=True)
        return floats.sub_(self.mean).div_(self.std).to(self.dtype)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map raw samples (n, *input_shape) to logits (n, classes)."""
        return self.net(self.preprocess(inputs))

    def checked_logits(self, answer: object, samples: int) -> Tensor:
        """What the network returned for so many samples, if it is logits (samples, outputs).

        Raises:
            UserError: it is something else, on which a loss might be computed all the same.
        """
        expected = (samples, self.hparams["net"]["outputs"])
        if isinstance(answer, Tensor) and answer.shape == expected:
            return answer
        found = (
            f"a tensor of shape {tuple(answer.shape)}" if isinstance(answer, Tensor) else f"a {type(answer).__name__}"
        )
        raise UserError(
            f"{self.hparams['net']['_target_']} returned {found} for {samples} samples: its forward must return one tensor "
            f"of logits, of shape {expected}."
        )

    def configure_optimizers(self) -> Any:
        """Build the optimizer and its schedule from their descriptions."""
        if self.optimizer_node is None:
            raise ValueError("Classifier was built without an optimizer: it can be evaluated, not trained.")
        optimizer = build(self.optimizer_node, "optimizer", self.parameters())
        if self.schedule_node is None:
            return optimizer
        schedule = build(
            self.schedule_node,
            "schedule",
            optimizer,
            steps_per_epoch=self.steps_per_epoch,
            max_epochs=self.trainer.max_epochs,
        )
        if schedule is None:
            return optimizer
        if not isinstance(schedule, LRScheduler):
            raise UserError(
                f"{self.schedule_node['_target_']} returned a {type(schedule).__name__}: it must return one scheduler of "
                "torch.optim.lr_scheduler, which is stepped after every optimizer step, or None."
            )
        return [optimizer], [schedule]

    def on_fit_start(self) -> None:
        """Refuse batch normalisation over a share of each batch; on GPUs it is synchronised.

        Raises:
            ConfigError: the network has a layer of it, and there are several processes on the CPU.
        """
        normalises = any(isinstance(module, _BatchNorm) for module in self.net.modules())
        if normalises and self.trainer.world_size > 1 and self.device.type == "cpu":
            raise ConfigError(
                f"batch normalisation on {self.trainer.world_size} CPU processes would normalise each share of a batch by "
                "itself and change the training: use layer or group normalisation, or set trainer.devices=1."
            )

    def on_train_start(self) -> None:
        """Create what takes the optimizer steps."""
        if self.make_steps is None:
            raise ValueError("Classifier.make_steps is not set: src.training.fit.fit trains a Classifier.")
        self._steps = self.make_steps(self)

    def training_step(self, chunk: Chunk, batch_idx: int) -> dict[str, Any]:
        """Take one optimizer step for each batch of the chunk.

        Returns:
            ``train/loss`` and ``train/acc``, means over the chunk and over all ranks, and ``lr``, the learning rate of each
            parameter group at the last step.

        Raises:
            NonFiniteLoss: the loss of a step is not a finite number.
        """
        if chunk.first_step == 0:  # not at the epoch's start, which a resumed run does not come by
            self.train_loss.reset()
            self.train_acc.reset()
        losses, logits = self._steps.take(chunk)
        correct = (predicted(logits) == chunk.labels).sum()
        pooled = torch.cat([losses, correct.to(losses.dtype).unsqueeze(0)])
        if self.trainer.world_size > 1:
            pooled = self.trainer.strategy.reduce(pooled, reduce_op="sum")
        *values, right = pooled.tolist()
        return {**self._account(chunk, values, right), "lr": self._steps.learning_rates}

    def _account(self, chunk: Chunk, values: list[float], right: float) -> dict[str, float]:
        """Check the pooled losses of a chunk's steps and add them to the epoch's means."""
        samples = sum(chunk.totals)
        for number, value in enumerate(values):
            if not math.isfinite(value):
                step = self.global_step - len(values) + number
                raise NonFiniteLoss(
                    f"train/loss became {value} at step {step}, in epoch {self.current_epoch + 1}{_REMEDY}"
                )
        loss = sum(value * total for value, total in zip(values, chunk.totals, strict=True)) / samples
        acc = right / samples
        self.train_loss.update(loss, samples)
        self.train_acc.update(acc, samples)
        return {"train/loss": loss, "train/acc": acc}

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch of the training it is in."""
        return self._data.steps_per_epoch

    @property
    def _data(self) -> TensorData:
        return self.trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it, untyped

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip the gradients, where Lightning goes along with each step."""
        self._steps.clip()

    def on_train_epoch_end(self) -> None:
        """Log the epoch's means and let a plateau schedule look at them; see that there is something to save.

        Raises:
            NonFiniteLoss: the epoch's last step broke the weights.
        """
        if not all(bool(parameter.isfinite().all()) for parameter in self.parameters()):
            raise NonFiniteLoss(f"the weights are no numbers after step {self.global_step - 1}{_REMEDY}")
        means = {"train/loss": self.train_loss.compute().item(), "train/acc": self.train_acc.compute().item()}
        self.log("train/loss", self.train_loss, logger=False)
        self.log("train/acc", self.train_acc, logger=False)
        # Lightning would write them after the epoch's checkpoint, and a run killed in between would lack the point.
        for logger in self.trainer.loggers:
            logger.log_metrics(means, self.global_step)
        schedule = self.lr_schedulers()
        if isinstance(schedule, ReduceLROnPlateau):
            assert self.schedule_node is not None
            measured = {**self.trainer.callback_metrics, **means}
            schedule.step(float(measured[self.schedule_node["monitor"]]))

    def validation_step(self, chunk: Chunk, batch_idx: int) -> None:
        """Measure on held-out samples."""
        self._evaluate(chunk, "val", self.val_loss, self.val_acc)

    def on_validation_epoch_end(self) -> None:
        """Refuse to go on with weights that give no finite loss."""
        self._check_finite("val/loss", self.val_loss)

    def on_test_epoch_end(self) -> None:
        """Refuse to record a loss that is no finite number."""
        self._check_finite("test/loss", self.test_loss)

    def _check_finite(self, name: str, loss: MeanMetric) -> None:
        if not math.isfinite(value := float(loss.compute())):
            raise NonFiniteLoss(f"{name} became {value} after step {self.global_step - 1}{_REMEDY}")

    def test_step(self, chunk: Chunk, batch_idx: int) -> dict[str, Tensor] | None:
        """Measure on the test samples; returns their ``logits``, None where this rank has no sample of the batch."""
        logits = self._evaluate(chunk, "test", self.test_loss, self.test_acc)
        return None if logits is None else {"logits": logits}

    def _evaluate(self, chunk: Chunk, stage: str, loss: MeanMetric, acc: MulticlassAccuracy) -> Tensor | None:
        logits = None
        if len(chunk.labels):  # the last batch may be too small for every rank to get a sample
            logits = self.checked_logits(self(chunk.inputs), len(chunk.labels))
            loss.update(self.loss(logits, chunk.labels) / len(chunk.labels), len(chunk.labels))
            acc.update(predicted(logits), chunk.labels)
        self.log(f"{stage}/loss", loss)
        self.log(f"{stage}/acc", acc)
        return logits
