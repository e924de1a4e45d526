"""Adversarial attacks: perturbations of the inputs within an L-infinity ball of radius ``epsilon`` that increase the loss.

``epsilon`` and ``step_size`` are fractions of the range of pixel values, 0 to 255: 0.1 is 25.5. Adversarial examples are
clamped to that range. The functions do not change the mode of the model: call ``eval()`` first, which disables dropout and
the update of batch statistics.
"""

import torch
from torch import Tensor

from src.tasks.pipeline import Pipeline

WHITE = 255.0


def input_gradient(model: Pipeline, inputs: Tensor, labels: Tensor) -> Tensor:
    """Gradient of the summed loss with respect to raw floating-point samples (n, *shape), of the same shape."""
    at = inputs.detach().requires_grad_()
    with torch.enable_grad():
        [gradient] = torch.autograd.grad(model.loss(model(at), labels), at)
    return gradient


def fgsm(model: Pipeline, inputs: Tensor, labels: Tensor, epsilon: float) -> Tensor:
    """Fast gradient sign method: a single step (Goodfellow et al. 2015, https://arxiv.org/abs/1412.6572).

    Args:
        model: the model to attack.
        inputs: pixel values from 0 to 255, of any dtype, (n, *shape).
        labels: true classes, int64 (n,).
        epsilon: size of the perturbation of each value.

    Returns:
        Adversarial examples, floating point (n, *shape).
    """
    raw = inputs.to(model.dtype)
    return (raw + epsilon * WHITE * input_gradient(model, raw, labels).sign()).clamp(0, WHITE)


def pgd(
    model: Pipeline, inputs: Tensor, labels: Tensor, epsilon: float, *, steps: int, step_size: float, random: Tensor
) -> Tensor:
    """Projected gradient descent on the negative loss (Madry et al. 2018, https://arxiv.org/abs/1706.06083).

    Args:
        model: the model to attack.
        inputs: pixel values from 0 to 255, of any dtype, (n, *shape).
        labels: true classes, int64 (n,).
        epsilon: maximum perturbation of each value.
        steps: number of steps.
        step_size: change of each value per step.
        random: starting point, uniform in [0, 1), (n, *shape); 0.5 is the sample itself.

    Returns:
        Adversarial examples, floating point (n, *shape).
    """
    raw = inputs.to(model.dtype)
    low, high = (raw - epsilon * WHITE).clamp(min=0), (raw + epsilon * WHITE).clamp(max=WHITE)
    attacked = (raw + epsilon * WHITE * (2 * random - 1)).clamp(0, WHITE)
    for _ in range(steps):
        moved = attacked + step_size * WHITE * input_gradient(model, attacked, labels).sign()
        attacked = torch.clamp(moved, low, high)
    return attacked
