"""Optimizers that torch has only in part."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn


class Muon(torch.optim.Optimizer):
    """Muon for the hidden layers' matrices, AdamW for everything else.

    Muon (Jordan and others, 2024) replaces each gradient by the nearest orthogonal matrix, so that a step moves all
    directions of a layer alike. torch's ``Muon`` takes matrices only and is not meant for the output layer; here the
    last matrix, and whatever is no matrix, goes through torch's ``AdamW``. To everybody else it is one optimizer with
    two groups of parameters.

    Args:
        params: the network's parameters, the output layer's last.
        lr: of the hidden matrices.
        momentum: of the hidden matrices.
        weight_decay: of all.
        adamw_lr: of everything else.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        *,
        lr: float = 0.01,
        momentum: float = 0.95,
        weight_decay: float = 0.1,
        adamw_lr: float = 3e-3,
    ) -> None:
        every = list(params)
        hidden = [parameter for parameter in every if parameter.ndim == 2][:-1]
        if not hidden:
            raise ValueError("Muon needs a hidden layer: a network without one has no matrix for it.")
        rest = [parameter for parameter in every if not any(parameter is matrix for matrix in hidden)]
        self._muon = torch.optim.Muon(hidden, lr=lr, momentum=momentum, weight_decay=weight_decay)
        self._adamw = torch.optim.AdamW(rest, lr=adamw_lr, weight_decay=weight_decay, fused=True)
        super().__init__([*self._muon.param_groups, *self._adamw.param_groups], {})
        self._share()

    def _share(self) -> None:
        """Let the two work on the groups and the state of this one, where schedules and checkpoints look."""
        self._muon.param_groups, self._adamw.param_groups = self.param_groups[:1], self.param_groups[1:]
        self._muon.state = self._adamw.state = self.state

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Take one step; the loss, if a closure computes it."""
        loss: Tensor | None = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._muon.step()
        self._adamw.step()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state."""
        super().load_state_dict(state_dict)
        self._share()
