"""Regression of one or several targets."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import lightning.pytorch as pl
from torch import Tensor, nn
from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric

from src.bounds import Mode, Positive
from src.data.module import TensorData
from src.errors import ConfigError, DataError
from src.tasks.base import ClipNorm, MakeOptimizer, MakeSchedule, SupervisedTask
from src.tasks.losses import DELTA, LossFunction, RegressionLossName, Standardized, make_regression_loss
from src.tasks.metrics import R2

MetricName = Literal["mae", "rmse", "r2"]


class Regressor(SupervisedTask):
    """Trains a network on batches of samples (n, *input_shape) and targets (n, targets).

    Logs ``train/loss``, ``val/loss`` and ``test/loss``, and in validation and test further metrics in the units of the
    targets, each exact for all samples of an epoch on any number of ranks.

    Args:
        net: maps samples to outputs (n, targets).
        targets: number of targets per sample.
        optimizer: builds the optimizer from the parameters; needed only for training.
        schedule: see ``SupervisedTask``.

    Raises:
        ConfigError: ``delta`` is set for a loss other than huber.
    """

    from_data: ClassVar[tuple[str, ...]] = ("targets",)
    metrics: ClassVar[Mapping[str, Mode]] = {"loss": "min", "mae": "min", "rmse": "min", "r2": "max"}
    monitor: ClassVar[str] = "loss"

    def __init__(
        self,
        *,
        net: nn.Module,
        targets: int,
        optimizer: MakeOptimizer | None = None,
        schedule: MakeSchedule | None = None,
        loss: Annotated[RegressionLossName | nn.Module | LossFunction, "loss function: its name or a module"] = "mse",
        delta: Annotated[Positive, "for huber: error from which the loss is linear"] = DELTA,
        standardize_targets: Annotated[
            bool, "train the network on (target - mean) / std of the training targets; metrics keep their units"
        ] = False,
        metrics: Annotated[Sequence[MetricName], "metrics of validation and test besides the loss"] = (
            "mae",
            "rmse",
            "r2",
        ),
        gradient_clip_norm: ClipNorm = None,
    ) -> None:
        made = make_regression_loss(loss, delta)
        known: dict[MetricName, Metric] = {
            "mae": MeanAbsoluteError(),
            "rmse": MeanSquaredError(squared=False),
            "r2": R2(),
        }
        super().__init__(
            net=net,
            num_outputs=targets,
            loss=Standardized(made, targets) if standardize_targets else made,
            metrics={name: known[name] for name in metrics},
            optimizer=optimizer,
            schedule=schedule,
            gradient_clip_norm=gradient_clip_norm,
        )

    @staticmethod
    def outputs(data: pl.LightningDataModule, settings: Mapping[str, Any]) -> int:
        """The number of targets of a data module.

        Raises:
            ConfigError: the data set has no targets.
        """
        if (targets := getattr(data, "targets", None)) is None:
            raise ConfigError(
                f"task=regression requires a data set of numeric targets, and {type(data).__name__} has none: set "
                "task=classification."
            )
        return targets

    def setup(self, stage: str) -> None:
        """Compute mean and standard deviation of the training targets before training.

        Raises:
            ConfigError: the targets are to be standardized and are unavailable.
        """
        super().setup(stage)
        for metric in (*self.val_metrics.values(), *self.test_metrics.values()):
            metric.set_dtype(self.sum_dtype)  # type: ignore[operator]
        if stage == "fit" and isinstance(self.loss, Standardized):
            data = self.trainer.datamodule  # type: ignore[attr-defined]
            if not isinstance(data, TensorData):
                raise ConfigError(
                    f"task.standardize_targets requires all training targets, which {type(data).__name__} does not have as "
                    "a tensor: set it to false."
                )
            self.loss.fit(data.train_set[1])

    def predictions(self, outputs: Tensor) -> Tensor:
        """Convert outputs of the network (n, targets) to the units of the targets."""
        return self.loss.inverse(outputs) if isinstance(self.loss, Standardized) else outputs

    def check_targets(self, targets: Tensor) -> None:
        """Raise ``DataError`` if the targets of a batch are not finite or have the wrong shape."""
        shape = (len(targets), self.num_outputs)
        if targets.shape != shape or not targets.is_floating_point():
            raise DataError(
                f"targets of a batch are {targets.dtype} of shape {tuple(targets.shape)}: they must be floating-point, of "
                f"shape {shape}."
            )
        if not targets.isfinite().all():
            raise DataError("a batch has a target that is NaN or infinite: remove or replace such samples.")

    def update_metrics(self, metrics: nn.ModuleDict, outputs: Tensor, targets: Tensor) -> None:
        """Update each metric in ``sum_dtype``."""
        predictions, targets = self.predictions(outputs.to(self.sum_dtype)), targets.to(self.sum_dtype)
        for metric in metrics.values():
            metric.update(predictions, targets)  # type: ignore[operator]

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor] | None:
        """Update ``test/loss`` and the metrics; returns the ``predictions``, or None if this rank has no sample."""
        outputs = self.evaluate(batch, "test", self.test_loss, self.test_metrics)
        return None if outputs is None else {"predictions": self.predictions(outputs)}
