"""Variants of torchmetrics' metrics for missing classes, small variance and float64 sums."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import MeanMetric, Metric, R2Score
from torchmetrics.functional.classification import binary_auroc
from torchmetrics.utilities.data import dim_zero_cat


class Mean(MeanMetric):
    """``torchmetrics.MeanMetric`` that keeps its dtype when it is moved to another device, instead of reverting to float32."""

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the sum."""
        return self.mean_value.dtype


class AUROC(Metric):
    """One-vs-rest area under the ROC curve, averaged over the classes.

    A class without positive or without negative samples has no ROC curve and is ignored; torchmetrics would count it as 0. The
    result is NaN if no class remains.
    """

    is_differentiable, higher_is_better, full_state_update = False, True, False
    scores: list[Tensor]
    targets: list[Tensor]

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.add_state("scores", [], dist_reduce_fx="cat")
        self.add_state("targets", [], dist_reduce_fx="cat")

    def update(self, scores: Tensor, targets: Tensor) -> None:
        """Add samples: the score of each class (n, k), and binary targets 0 or 1 (n, k)."""
        self.scores.append(scores.float())
        self.targets.append(targets.to(torch.uint8))

    def compute(self) -> Tensor:
        """The mean over the classes."""
        scores, targets = dim_zero_cat(self.scores), dim_zero_cat(self.targets)
        areas = [
            binary_auroc(score, target.long(), validate_args=False)
            for score, target in zip(scores.T, targets.T, strict=True)
            if 0 < target.count_nonzero() < len(target)
        ]
        return torch.stack(areas).mean() if areas else scores.new_tensor(torch.nan)


class R2(R2Score):
    """Coefficient of determination, averaged over the targets; NaN if a target is constant or there is only one sample.

    torchmetrics treats sums of squares below 1e-4 as 0, which is wrong for targets of small scale.
    """

    def compute(self) -> Tensor:
        """The mean over the targets."""
        squares = self.sum_squared_error
        variation = squares - self.sum_error**2 / self.total
        is_constant = variation <= 4 * torch.finfo(squares.dtype).eps * squares  # up to rounding
        return (1 - self.residual / variation.masked_fill(is_constant, torch.nan)).mean()
