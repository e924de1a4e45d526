"""Learning-rate schedules. They advance by optimizer step, plateau by epoch; their lengths are said in epochs.

Each parameter group is scheduled relative to its own learning rate: ``lr`` below is the group's.
"""

import math

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)


def constant(
    optimizer: Optimizer, *, steps_per_epoch: int, max_epochs: int, warmup_epochs: float = 0.0
) -> LRScheduler | None:
    """The rate stays at ``lr``, after a linear rise over ``warmup_epochs``. None where there is nothing to schedule."""
    steps = round(warmup_epochs * steps_per_epoch)
    return _rise(optimizer, steps) if steps else None


def step(
    optimizer: Optimizer,
    *,
    steps_per_epoch: int,
    max_epochs: int,
    every_epochs: float,
    factor: float = 0.1,
    warmup_epochs: float = 0.0,
) -> LRScheduler:
    """The rate falls to ``factor`` of itself after each ``every_epochs``."""
    falling = StepLR(optimizer, step_size=max(1, round(every_epochs * steps_per_epoch)), gamma=factor)
    return _after_warmup(falling, optimizer, warmup_epochs * steps_per_epoch)


def exponential(
    optimizer: Optimizer, *, steps_per_epoch: int, max_epochs: int, factor: float, warmup_epochs: float = 0.0
) -> LRScheduler:
    """The rate falls at every step, to ``factor`` of itself over an epoch."""
    falling = ExponentialLR(optimizer, gamma=factor ** (1 / steps_per_epoch))
    return _after_warmup(falling, optimizer, warmup_epochs * steps_per_epoch)


def cosine(
    optimizer: Optimizer,
    *,
    steps_per_epoch: int,
    max_epochs: int,
    warmup_epochs: float = 0.0,
    final_ratio: float = 0.0,
) -> LRScheduler:
    """Half a cosine from ``lr`` down to ``final_ratio * lr`` after the last step (Loshchilov and Hutter, 2017)."""
    steps = max(1, max_epochs * steps_per_epoch - round(warmup_epochs * steps_per_epoch))

    def ratio(step: int) -> float:
        # Not CosineAnnealingLR, which ends at one learning rate for all groups.
        return final_ratio + (1 - final_ratio) * (1 + math.cos(math.pi * step / steps)) / 2

    return _after_warmup(LambdaLR(optimizer, ratio), optimizer, warmup_epochs * steps_per_epoch)


def one_cycle(
    optimizer: Optimizer,
    *,
    steps_per_epoch: int,
    max_epochs: int,
    rise: float = 0.3,
    start_ratio: float = 0.04,
    final_ratio: float = 4e-6,
) -> LRScheduler:
    """From ``start_ratio * lr`` up to ``lr`` over the share ``rise`` of the training, then down to ``final_ratio * lr``,
    both along half a cosine, with the momentum (or Adam's beta1), where it is not zero, going the other way from 0.95 to
    0.85 and back (Smith and Topin, 2018).
    """
    return _OneCycle(
        optimizer,
        max_lr=[group["lr"] for group in optimizer.param_groups],
        total_steps=max_epochs * steps_per_epoch,
        pct_start=rise,
        div_factor=1 / start_ratio,
        final_div_factor=start_ratio / final_ratio,
        cycle_momentum=False,
    )


def plateau(
    optimizer: Optimizer,
    *,
    steps_per_epoch: int,
    max_epochs: int,
    watch: str,
    factor: float = 0.3,
    patience_epochs: int = 2,
    min_ratio: float = 1e-3,
) -> ReduceLROnPlateau:
    """The rate falls to ``factor`` of itself when ``watch`` has not improved for ``patience_epochs``."""
    return ReduceLROnPlateau(
        optimizer,
        mode="min" if watch.endswith("/loss") else "max",
        factor=factor,
        patience=patience_epochs,
        min_lr=[min_ratio * group["lr"] for group in optimizer.param_groups],
        eps=0.0,  # torch ignores steps below 1e-8, however small a group's learning rate is
    )


def _after_warmup(schedule: LRScheduler, optimizer: Optimizer, steps: float) -> LRScheduler:
    rise = round(steps)
    return SequentialLR(optimizer, [_rise(optimizer, rise), schedule], [rise]) if rise else schedule


def _rise(optimizer: Optimizer, steps: int) -> LRScheduler:
    """A linear rise that reaches the full rate after ``steps`` steps; the first step already moves."""
    return LinearLR(optimizer, start_factor=1 / (steps + 1), total_iters=steps)


class _OneCycle(OneCycleLR):
    """torch's, with the momentum of each group that has one, under the name that it has there.

    torch expects a momentum of all groups, under one name; and it divides by zero where the learning rate rises to the
    last step, or for a single one.
    """

    def get_lr(self) -> list[float | Tensor]:
        """The learning rate of each group, whose momentum is set."""
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
