"""Learning-rate schedules. They advance by optimizer step; their lengths are said in epochs."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR


def constant(
    optimizer: Optimizer, *, steps_per_epoch: int, max_epochs: int, warmup_epochs: float = 0.0
) -> LRScheduler | None:
    """The rate stays at ``lr``, after a linear rise over ``warmup_epochs``. None where there is nothing to schedule."""
    steps = round(warmup_epochs * steps_per_epoch)
    return _warmup(optimizer, steps) if steps else None


def cosine(
    optimizer: Optimizer,
    *,
    steps_per_epoch: int,
    max_epochs: int,
    warmup_epochs: float = 0.0,
    final_ratio: float = 0.0,
) -> LRScheduler:
    """Half a cosine from ``lr`` down to ``final_ratio * lr`` after the last step (Loshchilov and Hutter, 2017)."""
    warmup = round(warmup_epochs * steps_per_epoch)
    steps = max(1, max_epochs * steps_per_epoch - warmup)
    descent = CosineAnnealingLR(optimizer, T_max=steps, eta_min=final_ratio * optimizer.param_groups[0]["lr"])
    return SequentialLR(optimizer, [_warmup(optimizer, warmup), descent], [warmup]) if warmup else descent


def _warmup(optimizer: Optimizer, steps: int) -> LRScheduler:
    """A linear rise that reaches the full rate after ``steps`` steps; the first step already moves."""
    return LinearLR(optimizer, start_factor=1 / (steps + 1), total_iters=steps)
