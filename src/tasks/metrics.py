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


class EpisodeAccuracy(Metric):
    """Mean accuracy of few-shot episodes, each of which updates the metric once, with the queries of this rank.

    Args:
        episodes: maximum number of episodes.
    """

    is_differentiable, higher_is_better, full_state_update = False, True, False
    correct: Tensor
    queries: Tensor

    def __init__(self, episodes: int, **settings: Any) -> None:
        super().__init__(**settings)
        for name in ("correct", "queries"):
            self.add_state(name, torch.zeros(episodes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, is_correct: Tensor) -> None:
        """Add the next episode: whether each query (n,) is classified correctly."""
        episode = self.update_count - 1  # of this call
        self.correct[episode], self.queries[episode] = is_correct.sum(), len(is_correct)

    def accuracies(self) -> Tensor:
        """The accuracy of each episode so far."""
        return self.correct[self.queries > 0] / self.queries[self.queries > 0]

    def compute(self) -> Tensor:
        """The mean over the episodes."""
        return self.accuracies().mean()


class EpisodeInterval(EpisodeAccuracy):
    """Half the width of the 95 % confidence interval of the mean accuracy, 1.96 standard errors; NaN for a single episode."""

    higher_is_better = False

    def compute(self) -> Tensor:
        """1.96 times the sample standard deviation, divided by the square root of the number of episodes."""
        accuracies = self.accuracies()
        if len(accuracies) < 2:  # for which torch warns
            return accuracies.new_tensor(torch.nan)
        return 1.96 * accuracies.std() / len(accuracies) ** 0.5


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
