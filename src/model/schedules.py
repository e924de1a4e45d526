"""Learning-rate schedules. They advance by optimizer step, plateau by epoch; their lengths are said in epochs."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    ExponentialLR,
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
    falling = CosineAnnealingLR(optimizer, T_max=steps, eta_min=final_ratio * optimizer.param_groups[0]["lr"])
    return _after_warmup(falling, optimizer, warmup_epochs * steps_per_epoch)


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
    both along half a cosine, with the momentum, where there is one, going the other way (Smith and Topin, 2018).
    """
    return OneCycleLR(
        optimizer,
        max_lr=[group["lr"] for group in optimizer.param_groups],
        total_steps=max_epochs * steps_per_epoch,
        pct_start=rise,
        div_factor=1 / start_ratio,
        final_div_factor=start_ratio / final_ratio,
        # An optimizer without momentum stays without.
        cycle_momentum="betas" in optimizer.defaults or optimizer.defaults.get("momentum", 0) > 0,
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
    )


def _after_warmup(schedule: LRScheduler, optimizer: Optimizer, steps: float) -> LRScheduler:
    rise = round(steps)
    return SequentialLR(optimizer, [_rise(optimizer, rise), schedule], [rise]) if rise else schedule


def _rise(optimizer: Optimizer, steps: int) -> LRScheduler:
    """A linear rise that reaches the full rate after ``steps`` steps; the first step already moves."""
    return LinearLR(optimizer, start_factor=1 / (steps + 1), total_iters=steps)
