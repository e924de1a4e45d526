"""Knowledge distillation: a classifier that also learns from the predictions of another one."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from src.bounds import Fraction, Positive, Run
from src.tasks.base import ClipNorm, MakeOptimizer, MakeSchedule, with_single_labels
from src.tasks.classification import Classifier, MetricName
from src.tasks.losses import columns
from src.tasks.pipeline import Pipeline


class Distiller(Classifier):
    """Trains a network, the student, on labels and on the softened predictions of a trained teacher.

    The training loss of a sample is ``(1 - alpha) * CE + alpha * T^2 * KL(p || q)``, with cross entropy CE, and p and q the softmax
    of the logits of teacher and student divided by the temperature T (Hinton et al. 2015, https://arxiv.org/abs/1503.02531).
    ``val/loss`` and ``test/loss`` are the cross entropy. The teacher is frozen, in evaluation mode, and not in the checkpoints.

    Args:
        net: see ``Classifier``.
        classes: see ``Classifier``.
        optimizer: see ``Classifier``.
        schedule: see ``Classifier``.
    """

    from_data: ClassVar[tuple[str, ...]] = ("classes",)

    def __init__(
        self,
        *,
        net: nn.Module,
        classes: int,
        optimizer: MakeOptimizer | None = None,
        schedule: MakeSchedule | None = None,
        teacher: Annotated[Run, "the trained run to learn from: its id, name or directory"],
        alpha: Annotated[Fraction, "weight of the teacher's predictions in the loss; the labels have 1 - alpha"] = 0.9,
        temperature: Annotated[Positive, "divisor of the logits of both networks"] = 2.0,
        metrics: Annotated[Sequence[MetricName], "metrics of validation and test besides the loss"] = ("acc",),
        gradient_clip_norm: ClipNorm = None,
    ) -> None:
        super().__init__(
            net=net,
            classes=classes,
            optimizer=optimizer,
            schedule=schedule,
            metrics=metrics,
            gradient_clip_norm=gradient_clip_norm,
        )
        self.teacher, self.alpha, self.temperature = teacher, alpha, temperature

    @staticmethod
    def outputs(data: pl.LightningDataModule, settings: Mapping[str, Any]) -> int:
        """The number of logits for a data module.

        Raises:
            ConfigError: it is not a data set in memory with one class for each sample.
        """
        return int(with_single_labels(data, "distillation").classes)

    def learn_from(self, teacher: Pipeline) -> None:
        """Set the teacher, which maps raw samples (n, *input_shape) to logits (n, classes). Needed only for training."""
        # In a tuple, since a submodule would be saved, optimized and set to training mode with this module.
        self._teacher = (teacher.requires_grad_(False).eval(),)

    def on_fit_start(self) -> None:
        """Move the teacher to the device of the student."""
        super().on_fit_start()
        self._teacher[0].to(self.device)

    def training_loss(self, inputs: Tensor, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss summed over the samples. The teacher gets the same samples, augmented if they are, with its own normalisation."""
        [teacher] = self._teacher
        with torch.no_grad():
            raw = self.trainer.datamodule.normalize.inverse(inputs)  # type: ignore[attr-defined]
            expected = F.log_softmax(columns(teacher(raw)) / self.temperature, 1)
        predicted = F.log_softmax(outputs / self.temperature, 1)
        divergence = F.kl_div(predicted, expected, reduction="sum", log_target=True)
        return (1 - self.alpha) * self.loss(outputs, targets) + self.alpha * self.temperature**2 * divergence
