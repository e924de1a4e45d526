"""Attacks on a classifier: changes of the grey values, each within ``epsilon``, that raise its loss.

``epsilon`` and ``step_size`` are shares of the range of grey values, 0 to 255: 0.1 is 25.5 grey levels. What comes out
stays within that range. The network is attacked as it stands: in evaluation mode its dropout is off and its batch
statistics are left alone, so set it to that first.
"""

import torch
from torch import Tensor

from src.tasks.pipeline import Pipeline

WHITE = 255.0


def input_gradient(model: Pipeline, inputs: Tensor, labels: Tensor) -> Tensor:
    """The gradient of the summed loss with respect to raw floating-point samples (n, *shape): the same shape."""
    at = inputs.detach().requires_grad_()
    with torch.enable_grad():
        [gradient] = torch.autograd.grad(model.loss(model(at), labels), at)
    return gradient


def fgsm(model: Pipeline, inputs: Tensor, labels: Tensor, epsilon: float) -> Tensor:
    """The fast gradient sign method: one step (Goodfellow et al. 2015, https://arxiv.org/abs/1412.6572).

    Args:
        model: what is attacked.
        inputs: grey values from 0 to 255 of any kind of number, (n, *shape).
        labels: the true classes, int64 (n,).
        epsilon: how far each value is moved.

    Returns:
        The attacked samples, floating point (n, *shape).
    """
    raw = inputs.to(model.dtype)
    return (raw + epsilon * WHITE * input_gradient(model, raw, labels).sign()).clamp(0, WHITE)


def pgd(
    model: Pipeline, inputs: Tensor, labels: Tensor, epsilon: float, *, steps: int, step_size: float, random: Tensor
) -> Tensor:
    """Projected gradient descent on the negative loss (Madry et al. 2018, https://arxiv.org/abs/1706.06083).

    Args:
        model: what is attacked.
        inputs: grey values from 0 to 255 of any kind of number, (n, *shape).
        labels: the true classes, int64 (n,).
        epsilon: how far each value may be moved in all.
        steps: how many are taken.
        step_size: how far each value is moved in one of them.
        random: where it starts, evenly in [0, 1), (n, *shape); 0.5 is the sample itself.

    Returns:
        The attacked samples, floating point (n, *shape).
    """
    raw = inputs.to(model.dtype)
    low, high = (raw - epsilon * WHITE).clamp(min=0), (raw + epsilon * WHITE).clamp(max=WHITE)
    attacked = (raw + epsilon * WHITE * (2 * random - 1)).clamp(0, WHITE)
    for _ in range(steps):
        moved = attacked + step_size * WHITE * input_gradient(model, attacked, labels).sign()
        attacked = torch.clamp(moved, low, high)
    return attacked
