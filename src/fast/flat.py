"""Adam on all parameters as one vector."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim import optimizer as torch_optimizer
from torch.optim.adam import adam

_MOMENTS = ("exp_avg", "exp_avg_sq")
_HOOKS = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")
_GLOBAL_HOOKS = ("_global_optimizer_pre_hooks", "_global_optimizer_post_hooks")


class FlatAdam:
    """Takes the steps of an ``Adam`` or ``AdamW``, all parameters at once, by torch's own function.

    ``Optimizer.step`` takes longer to collect the tensors of a small network than to change them. The optimizer itself
    stays what schedules, checkpoints and everybody else look at: its parameters and its state become parts of the vectors
    here, its settings are read at each step, and ``settle`` tells it how many were taken.

    Args:
        optimizer: see ``fits``; one that has taken steps is gone on with.
        parameters: all of its parameters.
        gradient: of all of them, one after the other, (numbers,); None where each has its own.
    """

    def __init__(
        self, optimizer: torch.optim.Adam, parameters: Sequence[Tensor], gradient: Tensor | None = None
    ) -> None:
        self._optimizer, self._parameters = optimizer, parameters
        states = [optimizer.state[parameter] for parameter in parameters]
        earlier = states[0].get("step")
        values = torch.cat([parameter.detach().flatten() for parameter in parameters])
        self._count = torch.zeros((), device=values.device) if earlier is None else earlier.clone()
        for parameter, part in zip(parameters, self._parts(values), strict=True):
            parameter.data = part
        moments: list[Tensor] = []
        for name in _MOMENTS:
            found = [state.get(name, torch.zeros_like(p)) for p, state in zip(parameters, states, strict=True)]
            vector = torch.cat([one.flatten() for one in found])
            moments.append(vector)
            for state, part in zip(states, self._parts(vector), strict=True):
                state[name] = part
        for state in states:
            state["step"] = self._count.clone()
        self._collects = gradient is None
        self._vectors = [values, torch.zeros_like(values) if gradient is None else gradient, *moments]
        self._places = self._now()
        optimizer._opt_called = True  # type: ignore[attr-defined]  # schedules warn where they see no step of its own

    @staticmethod
    def fits(optimizer: torch.optim.Optimizer, parameters: Sequence[Tensor]) -> bool:
        """Whether these are all of the optimizer's parameters and alike, it is fused, and its steps are torch's own, to
        which nobody listens.
        """
        if type(optimizer) not in (torch.optim.Adam, torch.optim.AdamW) or len(optimizer.param_groups) != 1:
            return False
        [group] = optimizer.param_groups
        same = list(map(id, parameters)) == list(map(id, group["params"]))
        alike = len({(parameter.dtype, parameter.device) for parameter in parameters}) == 1
        other = any(group[name] for name in ("amsgrad", "maximize", "capturable", "differentiable"))
        return same and alike and bool(group["fused"]) and not other and _steps_by_itself(optimizer)

    def _parts(self, vector: Tensor) -> list[Tensor]:
        parts = vector.split([parameter.numel() for parameter in self._parameters])
        return [part.view_as(parameter) for part, parameter in zip(parts, self._parameters, strict=True)]

    def _now(self) -> list[int]:
        tensors = [*self._parameters, *(self._optimizer.state[p].get(n) for p in self._parameters for n in _MOMENTS)]
        return [tensor.data_ptr() if tensor is not None else 0 for tensor in tensors]

    @property
    def holds(self) -> bool:
        """Whether the optimizer's parameters and state still are parts of the vectors, and it still fits."""
        return self._now() == self._places and self.fits(self._optimizer, self._parameters)

    @property
    def state(self) -> list[Tensor]:
        """All that a step changes."""
        values, _, mean, square = self._vectors
        return [values, mean, square, self._count]

    def collect(self) -> bool:
        """Collect the parameters' own gradients; False where one has none, which the optimizer would leave out of its step."""
        if self._collects:
            gradients = [parameter.grad.flatten() for parameter in self._parameters if parameter.grad is not None]
            if len(gradients) < len(self._parameters):
                return False
            torch.cat(gradients, out=self._vectors[1])
        return True

    def step(self, rate: Tensor | None = None) -> None:
        """Take a step along the gradient, by the optimizer's rate or another."""
        [group] = self._optimizer.param_groups
        beta1, beta2 = group["betas"]
        values, gradient, mean, square = self._vectors
        adam(
            [values],
            [gradient],
            [mean],
            [square],
            [],
            [self._count],
            fused=True,
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=group["lr"] if rate is None else rate,
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
            decoupled_weight_decay=group["decoupled_weight_decay"],
        )

    def settle(self) -> None:
        """Leave the number of steps in the optimizer's state; a tensor for each parameter, as its own steps want it."""
        for parameter in self._parameters:
            self._optimizer.state[parameter]["step"].copy_(self._count)


def _steps_by_itself(optimizer: torch.optim.Optimizer) -> bool:
    """Whether a step is that of the optimizer's class: not replaced on the instance, no hooks. Schedules wrap it."""
    step = vars(optimizer).get("step")
    replaced = step is not None and getattr(step, "__wrapped__", None) is not type(optimizer).step
    hooked = any(getattr(optimizer, name) for name in _HOOKS)
    return not (replaced or hooked or any(getattr(torch_optimizer, name) for name in _GLOBAL_HOOKS))
