"""Manual backpropagation through a fully connected network.

For small networks most of the time of a step is overhead of autograd. Networks with dropout or normalisation, and mixed
precision, use autograd: see ``Backprop.of``.
"""

from collections.abc import Callable, Iterable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.module import _has_any_global_hook

from src.models.mlp import MLP
from src.tasks.losses import BinaryCrossEntropy, CrossEntropy, Loss, SquaredError

_aten = torch.ops.aten
# The function of each activation, and its backward function, whose arguments are the gradient of the output and the output, or
# the input for functions that are not in-place.
_ACTIVATIONS: dict[type[nn.Module], tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    nn.ReLU: (torch.relu_, lambda gradient, output: _aten.threshold_backward(gradient, output, 0)),
    nn.Sigmoid: (torch.sigmoid_, _aten.sigmoid_backward),
    nn.Tanh: (torch.tanh_, _aten.tanh_backward),
    nn.GELU: (F.gelu, _aten.gelu_backward),
    nn.SiLU: (F.silu, _aten.silu_backward),
}
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_PARAMETER_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")


class Backprop:
    """Manual backward pass through linear layers with activations between them.

    The gradients are written to one flat vector, which a single all-reduce sums over the ranks; ``attach`` makes the
    parameters' ``grad`` views of it.

    Args:
        net: see ``of``.
        loss: one of ``src.tasks.losses``.
    """

    def __init__(self, net: MLP, loss: Loss) -> None:
        self._net, self._loss = net, loss
        self._modules = modules = list(net.layers)
        self._activations = [_ACTIVATIONS[type(activation)][0] for activation in modules[1::2]]
        self._activation_grads = [_ACTIVATIONS[type(activation)][1] for activation in modules[1::2]]
        self.parameters = list(net.parameters())  # weight and bias of each layer
        self._weights, self._biases = self.parameters[::2], self.parameters[1::2]
        self.gradient = self._weights[0].new_zeros(sum(map(torch.numel, self.parameters)))
        parts = self.gradient.split([parameter.numel() for parameter in self.parameters])
        views = [part.view_as(parameter) for part, parameter in zip(parts, self.parameters, strict=True)]
        self._views = list(zip(views[::2], views[1::2], strict=True))

    @classmethod
    def of(cls, net: nn.Module, loss: Loss) -> "Backprop | None":
        """Create a ``Backprop`` for a network and its loss; None if they need autograd.

        Types are compared exactly, since a subclass may compute anything.
        """
        return cls(cast(MLP, net), loss) if has_formula(loss) and _is_plain(net) else None

    def is_valid(self, net: nn.Module, loss: Loss) -> bool:
        """Whether it was created for this network and loss, and no layer or parameter has been replaced, frozen or hooked since."""
        if net is not self._net or loss is not self._loss or not has_formula(loss) or not _is_plain(net):
            return False
        return _same(self._net.layers, self._modules) and _same(net.parameters(), self.parameters)

    def attach(self) -> None:
        """Make the parameters' ``grad`` views of ``gradient``; setting them to None detaches them."""
        views = (view for pair in self._views for view in pair)
        for parameter, view in zip(self.parameters, views, strict=True):
            parameter.grad = view

    def targets(self, labels: Tensor) -> Tensor:
        """Targets of the outputs (n, outputs) for labels int64 (n,)."""
        outputs = len(self._biases[-1])
        if outputs == 1:
            targets = labels.unsqueeze(1).to(self.gradient.dtype)
        else:
            targets = torch.eye(outputs, dtype=self.gradient.dtype, device=labels.device).index_select(0, labels)
        return self._loss.smoothed(targets) if type(self._loss) is CrossEntropy else targets

    def __call__(self, inputs: Tensor, targets: Tensor, total: int) -> Tensor:
        """Fill ``gradient`` with the gradient of the loss, summed over the samples and divided by ``total``.

        Args:
            inputs: (n, features).
            targets: (n, outputs), see ``targets``.
            total: number of samples on all ranks.

        Returns:
            The logits, (n, outputs).
        """
        layer_inputs, pre_activations = [inputs], []
        for weight, bias, activate in zip(self._weights, self._biases, self._activations, strict=False):
            pre_activations.append(F.linear(layer_inputs[-1], weight, bias))
            layer_inputs.append(activate(pre_activations[-1]))  # most functions are in-place
        logits = F.linear(layer_inputs[-1], self._weights[-1], self._biases[-1])
        gradient = self._logits_grad(logits, targets).div_(total)
        for number in range(len(self._weights) - 1, -1, -1):
            weight_grad, bias_grad = self._views[number]
            torch.mm(gradient.t(), layer_inputs[number], out=weight_grad)
            torch.sum(gradient, 0, out=bias_grad)
            if number:
                output_grad = torch.mm(gradient, self._weights[number])
                gradient = self._activation_grads[number - 1](output_grad, pre_activations[number - 1])
        return logits

    def _logits_grad(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The gradient of the summed loss with respect to the logits."""
        if type(self._loss) is SquaredError:
            outputs = torch.sigmoid(logits)
            return torch.ops.aten.sigmoid_backward(outputs - targets, outputs)
        if type(self._loss) is BinaryCrossEntropy:
            return torch.sigmoid(logits).sub_(targets)
        return torch.softmax(logits, 1).sub_(targets)


def has_formula(loss: Loss) -> bool:
    """Whether ``Backprop`` implements the gradient of a loss; only without weights."""
    known = type(loss) in (CrossEntropy, SquaredError, BinaryCrossEntropy)
    return known and loss.weight is None and "forward" not in vars(loss) and not has_hooks(loss)


def _is_plain(net: nn.Module) -> bool:
    """Whether the network computes linear layers and activations, and nothing else."""
    if type(net) is not MLP or type(net.layers) is not nn.Sequential:
        return False
    modules = list(net.layers)
    linear, between = modules[::2], modules[1::2]
    known = all(type(layer) is nn.Linear for layer in linear) and all(map(_is_known, between))
    if not known or len(linear) != len(between) + 1:
        return False
    # Every layer has a bias; no parameter is shared or belongs to another module.
    parameters = list(net.parameters())
    own = _same(parameters, [parameter for layer in linear for parameter in (layer.weight, layer.bias)])
    called = [net, net.layers, *modules]
    replaced = any("forward" in vars(module) for module in called)
    hooked = _has_any_global_hook() or any(map(has_hooks, called))
    return own and all(map(_is_trained, parameters)) and not replaced and not hooked


def has_hooks(module: nn.Module) -> bool:
    """Whether calling a module also calls hooks."""
    return any(getattr(module, name) for name in _HOOKS)


def _is_known(activation: nn.Module) -> bool:
    return type(activation) in _ACTIVATIONS and getattr(activation, "approximate", "none") == "none"


def _is_trained(parameter: nn.Parameter) -> bool:
    """Whether a parameter is a plain ``Parameter``, requires a gradient, and has no hooks."""
    hooked = any(getattr(parameter, name) for name in _PARAMETER_HOOKS)
    return type(parameter) is nn.Parameter and parameter.requires_grad and not hooked


def _same(one: Iterable[object], other: Iterable[object]) -> bool:
    """Whether both contain the same objects in the same order."""
    return list(map(id, one)) == list(map(id, other))
