"""Backpropagation through a fully connected network, written out.

A network this small spends most of a step in autograd's bookkeeping. What is not written out here (dropout,
normalisation, mixed precision) goes through autograd; ``Backprop.of`` tells.
"""

from collections.abc import Callable, Iterable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.module import _has_any_global_hook

from src.models.mlp import MLP
from src.tasks.losses import CrossEntropy, Loss, binary_cross_entropy, squared_error

_aten = torch.ops.aten
# Each activation, and the gradient before it: of the one after it and of what the activation gave or, where it does not
# work in place, of what it was given.
_ACTIVATIONS: dict[type[nn.Module], tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    nn.ReLU: (torch.relu_, lambda gradient, given: _aten.threshold_backward(gradient, given, 0)),
    nn.Sigmoid: (torch.sigmoid_, _aten.sigmoid_backward),
    nn.Tanh: (torch.tanh_, _aten.tanh_backward),
    nn.GELU: (F.gelu, _aten.gelu_backward),
    nn.SiLU: (F.silu, _aten.silu_backward),
}
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_PARAMETER_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")


class Backprop:
    """The gradients of a loss of linear layers with activations between them.

    The gradients are written into one vector, which several ranks can add up in one go; ``attach`` makes the parameters'
    ``grad`` views of it.

    Args:
        net: linear layers with activations between them.
        loss: one of ``src.tasks.losses``.
    """

    def __init__(self, net: MLP, loss: Loss) -> None:
        self._net, self._loss = net, loss
        self._modules = modules = list(net.layers)
        self._layers = cast(list[nn.Linear], modules[::2])
        self._activations = [_ACTIVATIONS[type(activation)][0] for activation in modules[1::2]]
        self._before = [_ACTIVATIONS[type(activation)][1] for activation in modules[1::2]]
        self.parameters = list(net.parameters())  # of each layer the weights and then the biases
        first = self.parameters[0]
        self.gradient = torch.zeros(sum(map(torch.numel, self.parameters)), dtype=first.dtype, device=first.device)
        parts = self.gradient.split([parameter.numel() for parameter in self.parameters])
        views = [part.view_as(parameter) for part, parameter in zip(parts, self.parameters, strict=True)]
        self._views = list(zip(views[::2], views[1::2], strict=True))

    @classmethod
    def of(cls, net: nn.Module, loss: Loss) -> "Backprop | None":
        """For a network and its loss; None where autograd is needed.

        Types are compared exactly: a subclass may compute anything.
        """
        written_out = type(loss) is CrossEntropy or loss is squared_error or loss is binary_cross_entropy
        return cls(cast(MLP, net), loss) if written_out and _is_plain(net) else None

    def holds(self, net: nn.Module, loss: Loss) -> bool:
        """Whether these are the network and the loss it was made for, and no layer or parameter has since been replaced,
        frozen or hooked into.
        """
        if net is not self._net or loss is not self._loss or not _is_plain(net):
            return False
        return _same(self._net.layers, self._modules) and _same(net.parameters(), self.parameters)

    def attach(self) -> None:
        """Show the gradients to the optimizer; anyone who sets them to None in between detaches them."""
        views = (view for pair in self._views for view in pair)
        for parameter, view in zip(self.parameters, views, strict=True):
            parameter.grad = view

    def targets(self, labels: Tensor) -> Tensor:
        """What the outputs should be for labels int64 (n,): (n, outputs)."""
        outputs = self._layers[-1].out_features
        wanted = labels.unsqueeze(1) if outputs == 1 else F.one_hot(labels, outputs)
        wanted = wanted.to(self.gradient.dtype)
        return self._loss.smoothed(wanted) if type(self._loss) is CrossEntropy else wanted

    def __call__(self, inputs: Tensor, targets: Tensor, total: int) -> Tensor:
        """Fill ``gradient`` with that of the loss, summed over the samples and divided by ``total``; without autograd.

        Args:
            inputs: (n, features).
            targets: (n, outputs), see ``targets``.
            total: samples of all ranks, of which these are a part.

        Returns:
            The logits, (n, outputs).
        """
        given, sums = [inputs], []
        for layer, activate in zip(self._layers, self._activations, strict=False):
            sums.append(F.linear(given[-1], layer.weight, layer.bias))
            given.append(activate(sums[-1]))  # most work in place
        last = self._layers[-1]
        logits = F.linear(given[-1], last.weight, last.bias)
        gradient = self._outermost(logits, targets).div_(total)
        for number in range(len(self._layers) - 1, -1, -1):
            weight, bias = self._views[number]
            torch.mm(gradient.t(), given[number], out=weight)
            torch.sum(gradient, 0, out=bias)
            if number:
                behind = torch.mm(gradient, self._layers[number].weight)
                gradient = self._before[number - 1](behind, sums[number - 1])
        return logits

    def _outermost(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The gradient of the summed loss with respect to the logits."""
        if self._loss is squared_error:
            outputs = torch.sigmoid(logits)
            return torch.ops.aten.sigmoid_backward(outputs - targets, outputs)
        if self._loss is binary_cross_entropy:
            return torch.sigmoid(logits).sub_(targets)
        return torch.softmax(logits, 1).sub_(targets)


def _is_plain(net: nn.Module) -> bool:
    """Whether a call of the network does what is written out here, and nothing else."""
    if type(net) is not MLP or type(net.layers) is not nn.Sequential:
        return False
    modules = list(net.layers)
    linear, between = modules[::2], modules[1::2]
    known = all(type(layer) is nn.Linear for layer in linear) and all(map(_is_known, between))
    if not known or len(linear) != len(between) + 1:
        return False
    # No bias left out, no parameter shared or of a module beside the layers.
    parameters = list(net.parameters())
    own = _same(parameters, [parameter for layer in linear for parameter in (layer.weight, layer.bias)])
    called = [net, net.layers, *modules]
    replaced = any("forward" in vars(module) for module in called)
    hooked = _has_any_global_hook() or any(getattr(module, name) for module in called for name in _HOOKS)
    return own and all(map(_is_trained, parameters)) and not replaced and not hooked


def _is_known(activation: nn.Module) -> bool:
    return type(activation) in _ACTIVATIONS and getattr(activation, "approximate", "none") == "none"


def _is_trained(parameter: nn.Parameter) -> bool:
    """Whether a parameter is an ordinary one whose gradient nobody listens to."""
    hooked = any(getattr(parameter, name) for name in _PARAMETER_HOOKS)
    return type(parameter) is nn.Parameter and parameter.requires_grad and not hooked


def _same(one: Iterable[object], other: Iterable[object]) -> bool:
    """Whether both hold the very same objects, in the same order."""
    return list(map(id, one)) == list(map(id, other))
