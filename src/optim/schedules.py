"""Learning rate schedules, stepped after every optimizer step, ``plateau`` after every epoch; lengths are in epochs.

Arguments have the names of torch.optim.lr_scheduler. ``lr`` is the learning rate of each parameter group.
"""

import math
from typing import Annotated, Any, Literal

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

from src.bounds import Bounds, CountOrZero, Fraction, Metric, NotNegative, OpenFraction, Positive
from src.records.metrics import mode_of

WarmupEpochs = Annotated[NotNegative, "epochs in which the learning rate increases linearly to optimizer.lr"]
DivisionFactor = Annotated[float, Bounds(gt=1)]


def constant(
    optimizer: Optimizer, *, steps_per_epoch: int, max_epochs: float, warmup_epochs: WarmupEpochs = 0.0
) -> LRScheduler | None:
    """A constant learning rate after a linear warm-up over ``warmup_epochs``; None if there is no warm-up."""
    steps = _warmup_steps(warmup_epochs, steps_per_epoch, max_epochs)
    return _every_step(_warmup(optimizer, steps)) if steps else None


def step(
    optimizer: Optimizer,
    *,
    steps_per_epoch: int,
    max_epochs: float,
    step_size: Annotated[Positive, "epochs between two steps"],
    gamma: Annotated[OpenFraction, "factor of the learning rate at each step"] = 0.1,
    warmup_epochs: WarmupEpochs = 0.0,
) -> LRScheduler:
    """Multiplies the learning rate by ``gamma`` every ``step_size`` epochs."""
    falling = StepLR(optimizer, step_size=max(1, round(step_size * steps_per_epoch)), gamma=gamma)
    return _after_warmup(falling, optimizer, _warmup_steps(warmup_epochs, steps_per_epoch, max_epochs))


def exponential(
    optimizer: Optimizer,
    *,
    steps_per_epoch: int,
    max_epochs: float,
    gamma: Annotated[OpenFraction, "factor of the learning rate over each epoch"],
    warmup_epochs: WarmupEpochs = 0.0,
) -> LRScheduler:
    """Multiplies the learning rate by ``gamma`` over each epoch, in equal factors per step."""
    falling = ExponentialLR(optimizer, gamma=gamma ** (1 / steps_per_epoch))
    return _after_warmup(falling, optimizer, _warmup_steps(warmup_epochs, steps_per_epoch, max_epochs))


def cosine(
    optimizer: Optimizer,
    *,
    steps_per_epoch: int,
    max_epochs: float,
    warmup_epochs: WarmupEpochs = 0.0,
    final_ratio: Annotated[Fraction, "final learning rate, as a fraction of optimizer.lr"] = 0.0,
) -> LRScheduler:
    """Half a cosine from ``lr`` down to ``final_ratio * lr`` after the last step (Loshchilov and Hutter, 2017)."""
    warmup = _warmup_steps(warmup_epochs, steps_per_epoch, max_epochs)
    steps = max(1, max_epochs * steps_per_epoch - warmup)

    def ratio(step: int) -> float:
        # Not CosineAnnealingLR, which ends at one learning rate for all groups.
        return final_ratio + (1 - final_ratio) * (1 + math.cos(math.pi * step / steps)) / 2

    return _after_warmup(LambdaLR(optimizer, ratio), optimizer, warmup)


def one_cycle(
    optimizer: Optimizer,
    *,
    steps_per_epoch: int,
    max_epochs: float,
    pct_start: Annotated[OpenFraction, "fraction of the training in which the learning rate increases"] = 0.3,
    div_factor: Annotated[DivisionFactor, "the initial learning rate is optimizer.lr / div_factor"] = 25.0,
    final_div_factor: Annotated[DivisionFactor, "the final learning rate is the initial one / final_div_factor"] = 1e4,
) -> LRScheduler:
    """The one-cycle policy (Smith and Topin, 2018).

    The learning rate increases from ``lr / div_factor`` to ``lr`` over the fraction ``pct_start`` of the training, then
    decreases to ``lr / div_factor / final_div_factor``, both along half a cosine. A nonzero momentum (or Adam's beta1) moves
    from 0.95 to 0.85 and back.
    """
    schedule = _OneCycle(
        optimizer,
        max_lr=[group["lr"] for group in optimizer.param_groups],
        total_steps=round(max_epochs * steps_per_epoch),
        pct_start=pct_start,
        div_factor=div_factor,
        final_div_factor=final_div_factor,
        cycle_momentum=False,
    )
    return _every_step(schedule)


def plateau(
    optimizer: Optimizer,
    *,
    steps_per_epoch: int,
    max_epochs: float,
    monitor: Annotated[Metric, "metric that must improve"],
    factor: Annotated[OpenFraction, "factor of the learning rate on a plateau"] = 0.3,
    patience: Annotated[CountOrZero, "epochs without improvement before the learning rate is reduced"] = 2,
    min_ratio: Annotated[Fraction, "minimum learning rate, as a fraction of optimizer.lr"] = 1e-3,
) -> ReduceLROnPlateau:
    """Multiplies the learning rate by ``factor`` when ``monitor`` has not improved for ``patience`` epochs."""
    return _Plateau(
        optimizer,
        monitor=monitor,
        mode=mode_of(monitor) or "min",
        factor=factor,
        patience=patience,
        min_lr=[min_ratio * group["lr"] for group in optimizer.param_groups],
        eps=0.0,  # torch ignores steps below 1e-8, however small a group's learning rate is
    )


class _Plateau(ReduceLROnPlateau):
    """``ReduceLROnPlateau`` with the name of the metric that is passed to its ``step`` after each epoch."""

    def __init__(self, optimizer: Optimizer, *, monitor: str, **settings: Any) -> None:
        super().__init__(optimizer, **settings)
        self.monitor = monitor


def _warmup_steps(warmup_epochs: float, steps_per_epoch: int, max_epochs: float) -> int:
    """Number of optimizer steps of the warm-up.

    Raises:
        ValueError: the warm-up is longer than the training.
    """
    if warmup_epochs > max_epochs:
        raise ValueError(f"warmup_epochs={warmup_epochs:g} must be at most trainer.max_epochs={max_epochs}.")
    return round(warmup_epochs * steps_per_epoch)


def _after_warmup(schedule: LRScheduler, optimizer: Optimizer, warmup: int) -> LRScheduler:
    if warmup:
        schedule = SequentialLR(optimizer, [_warmup(optimizer, warmup), schedule], [warmup])
    return _every_step(schedule)


def _every_step(schedule: LRScheduler) -> LRScheduler:
    schedule.interval = "step"  # type: ignore[attr-defined]
    return schedule


def interval_of(schedule: object) -> Literal["step", "epoch"]:
    """Whether a schedule counts optimizer steps, as those of this module and torch's one-cycle policy do, or epochs."""
    in_steps = isinstance(schedule, OneCycleLR | CyclicLR) or getattr(schedule, "interval", None) == "step"
    return "step" if in_steps else "epoch"


def _warmup(optimizer: Optimizer, steps: int) -> LRScheduler:
    """Linear warm-up that reaches ``lr`` after ``steps`` steps and is nonzero at the first step."""
    return LinearLR(optimizer, start_factor=1 / (steps + 1), total_iters=steps)


class _OneCycle(OneCycleLR):
    """``OneCycleLR`` that cycles the momentum, or beta1, of each parameter group that has one.

    torch requires the same kind of momentum in all groups, and divides by zero if the learning rate increases until the last
    step, or if there is only one step.
    """

    def get_lr(self) -> list[float | Tensor]:
        """Compute the learning rate of each group, and set its momentum."""
        peak, last = self._schedule_phases[0]["end_step"], self.total_steps - 1
        rises = self.last_epoch <= peak or peak == last
        start, end = (0, peak) if rises else (peak, last)
        share = (self.last_epoch - start) / (end - start) if end > start else 1.0
        before, after = (0.95, 0.85) if rises else (0.85, 0.95)
        momentum = self._annealing_cos(before, after, share)
        for group in self.optimizer.param_groups:
            if group.get("momentum"):
                group["momentum"] = momentum
            if group.get("betas", [0.0])[0]:
                group["betas"] = (momentum, *group["betas"][1:])
        first, second = ("initial_lr", "max_lr") if rises else ("max_lr", "min_lr")
        return [self._annealing_cos(group[first], group[second], share) for group in self.optimizer.param_groups]
