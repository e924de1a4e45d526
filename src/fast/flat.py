"""Adam and AdamW on all parameters as one flat vector."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim import optimizer as torch_optimizer

_MOMENTS = ("exp_avg", "exp_avg_sq")
_HOOKS = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")
_GLOBAL_HOOKS = ("_global_optimizer_pre_hooks", "_global_optimizer_post_hooks")


class FlatAdam:
    """Takes the steps of an ``Adam`` or ``AdamW`` optimizer for all parameters at once, with torch's fused operator.

    For a small network ``Optimizer.step`` takes longer to gather the tensors than to update them. Schedules and checkpoints
    still use the optimizer: its parameters and state become views of the flat vectors, its settings are read at each step, and
    ``sync_state`` writes the number of steps to its state.

    Args:
        optimizer: see ``supports``; the state of earlier steps is kept.
        parameters: all parameters of the optimizer.
        gradient: concatenated gradients of all parameters, (n,); None if each parameter has its own ``grad``.
    """

    def __init__(
        self, optimizer: torch.optim.Adam, parameters: Sequence[Tensor], gradient: Tensor | None = None
    ) -> None:
        self._optimizer, self._parameters = optimizer, parameters
        states = [optimizer.state[parameter] for parameter in parameters]
        steps = states[0].get("step", torch.zeros(()))
        values = torch.cat([parameter.detach().flatten() for parameter in parameters])
        # Of float32 for every dtype of the parameters: the operator's CUDA kernel reads it as such without a check.
        self._count = steps.to(values.device, torch.float32, copy=True)
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
        self._gathers = gradient is None
        self._vectors = [values, torch.zeros_like(values) if gradient is None else gradient, *moments]
        self._addresses = self._data_pointers()
        optimizer._opt_called = True  # type: ignore[attr-defined]  # else schedules warn that ``step`` was never called

    @staticmethod
    def supports(optimizer: torch.optim.Optimizer, parameters: Sequence[Tensor]) -> bool:
        """Whether an optimizer is a fused Adam or AdamW over exactly these parameters, all of one dtype and device, with an
        unmodified ``step`` and without hooks.
        """
        if type(optimizer) not in (torch.optim.Adam, torch.optim.AdamW) or len(optimizer.param_groups) != 1:
            return False
        [group] = optimizer.param_groups
        same = list(map(id, parameters)) == list(map(id, group["params"]))
        alike = len({(parameter.dtype, parameter.device) for parameter in parameters}) == 1
        other = any(group[name] for name in ("amsgrad", "maximize", "capturable", "differentiable"))
        return same and alike and bool(group["fused"]) and not other and _steps_by_itself(optimizer)

    @staticmethod
    def has_one_count(optimizer: torch.optim.Optimizer, parameters: Sequence[Tensor]) -> bool:
        """Whether all parameters have the same number of steps in the optimizer's state."""
        states = (optimizer.state.get(parameter, {}) for parameter in parameters)
        return len({float(state["step"]) if "step" in state else 0.0 for state in states}) == 1

    def _parts(self, vector: Tensor) -> list[Tensor]:
        parts = vector.split([parameter.numel() for parameter in self._parameters])
        return [part.view_as(parameter) for part, parameter in zip(parts, self._parameters, strict=True)]

    def _data_pointers(self) -> list[int]:
        tensors = [*self._parameters, *(self._optimizer.state[p].get(n) for p in self._parameters for n in _MOMENTS)]
        return [tensor.data_ptr() if tensor is not None else 0 for tensor in tensors]

    @property
    def is_valid(self) -> bool:
        """Whether the optimizer's parameters and state are still views of the vectors, and it is still supported."""
        return self._data_pointers() == self._addresses and self.supports(self._optimizer, self._parameters)

    @property
    def state(self) -> list[Tensor]:
        """The tensors that a step changes."""
        values, _, mean, square = self._vectors
        return [values, mean, square, self._count]

    def gather_grads(self) -> bool:
        """Copy the ``grad`` of each parameter to the flat gradient; False if one is None, which ``Optimizer.step`` would skip."""
        if self._gathers:
            gradients = [parameter.grad.flatten() for parameter in self._parameters if parameter.grad is not None]
            if len(gradients) < len(self._parameters):
                return False
            torch.cat(gradients, out=self._vectors[1])
        return True

    def step(self, lr: Tensor | None = None) -> None:
        """Take a step with the learning rate ``lr``, by default that of the optimizer."""
        [group] = self._optimizer.param_groups
        beta1, beta2 = group["betas"]
        values, gradient, mean, square = self._vectors
        self._count += 1
        update = torch._fused_adamw_ if group["decoupled_weight_decay"] else torch._fused_adam_
        update(  # called directly: torch's wrappers would add half of its time
            [values],
            [gradient],
            [mean],
            [square],
            [],
            [self._count],
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=group["lr"] if lr is None else lr,
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )

    def sync_state(self) -> None:
        """Write the number of steps to the optimizer's state, as a tensor for each parameter, which ``Optimizer.step`` requires."""
        for parameter in self._parameters:
            self._optimizer.state[parameter]["step"].copy_(self._count)


def _steps_by_itself(optimizer: torch.optim.Optimizer) -> bool:
    """Whether ``step`` is the method of the optimizer's class, without hooks; the wrapper of a schedule is allowed."""
    step = vars(optimizer).get("step")
    replaced = step is not None and getattr(step, "__wrapped__", None) is not type(optimizer).step
    hooked = any(getattr(optimizer, name) for name in _HOOKS)
    return not (replaced or hooked or any(getattr(torch_optimizer, name) for name in _GLOBAL_HOOKS))
