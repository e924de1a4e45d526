"""Optimizers that extend those of torch."""

import math
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from src.bounds import FractionBelowOne, NotNegative, Positive


def orthogonalised(
    matrix: Tensor, coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315), iterations: int = 5
) -> Tensor:
    """Approximate the nearest matrix with all singular values equal to one, (rows, columns), by a Newton-Schulz iteration.

    Jordan's quintic x -> a x + b x^3 + c x^5 brings every singular value to between 0.7 and 1.2. It acts only on singular values,
    so the iteration is computed on the small Gram matrix, and only its result is multiplied with the matrix.
    """
    a, b, c = coefficients
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.t()
    wide = wide / wide.norm().clamp(min=1e-7)
    gram, turned = wide @ wide.t(), torch.eye(len(wide), dtype=wide.dtype, device=wide.device)
    for _ in range(iterations):
        factor = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal().add_(a)
        turned, gram = factor @ turned, factor @ gram @ factor
    wide = turned @ wide
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.t()


class _Matrices(torch.optim.Muon):
    """``torch.optim.Muon`` in the precision of its parameters.

    torch always orthogonalises in bfloat16. On processors without bfloat16 instructions a step takes ten times as long, and the
    resulting weights differ between types of processors.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Perform a single optimization step."""
        for group in self.param_groups:
            for matrix in (one for one in group["params"] if one.grad is not None):
                state, momentum = self.state[matrix], group["momentum"]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(matrix)
                buffer = state["momentum_buffer"].lerp_(matrix.grad, 1 - momentum)
                direction = orthogonalised(matrix.grad.lerp(buffer, momentum))
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                matrix.add_(direction, alpha=-group["lr"] * math.sqrt(max(1, matrix.shape[0] / matrix.shape[1])))


class Muon(torch.optim.Optimizer):
    """Muon for the weight matrices of hidden layers, AdamW for all other parameters.

    Muon (Jordan and others, 2024) replaces the update of a matrix by the nearest orthogonal matrix, so that a step has the same
    size in all directions of a layer. It supports only matrices and is not intended for the output layer; here the last matrix,
    and all parameters that are not matrices, are optimized by torch's ``AdamW``. Externally this is one optimizer with two
    parameter groups.

    Args:
        params: parameters of the network, those of the output layer last.

    Raises:
        ValueError: there is no hidden layer.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        *,
        lr: Annotated[Positive, "learning rate of the hidden layers' matrices"] = 0.01,
        momentum: Annotated[FractionBelowOne, "momentum of the hidden layers' matrices"] = 0.95,
        weight_decay: Annotated[NotNegative, "decoupled weight decay of all parameters"] = 0.1,
        adamw_lr: Annotated[Positive, "learning rate of all other parameters, by AdamW"] = 3e-3,
    ) -> None:
        every = list(params)
        hidden = [parameter for parameter in every if parameter.ndim == 2][:-1]
        if not hidden:
            raise ValueError("Muon optimizes hidden layers, and this network has none: choose another optimizer.")
        rest = [parameter for parameter in every if not any(parameter is matrix for matrix in hidden)]
        self._muon = _Matrices(hidden, lr=lr, momentum=momentum, weight_decay=weight_decay)
        self._adamw = torch.optim.AdamW(rest, lr=adamw_lr, weight_decay=weight_decay, fused=True)
        super().__init__([*self._muon.param_groups, *self._adamw.param_groups], {})
        self._share()

    def _share(self) -> None:
        """Share parameter groups and state of this optimizer, which schedules and checkpoints use, with the two inner ones."""
        self._muon.param_groups, self._adamw.param_groups = self.param_groups[:1], self.param_groups[1:]
        self._muon.state = self._adamw.state = self.state

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Perform a single optimization step; returns the loss if a closure computes it."""
        loss: Tensor | None = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._muon.step()
        self._adamw.step()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the optimizer state."""
        super().load_state_dict(state_dict)
        self._share()
