"""How many CPU threads take the steps of an epoch."""

import time
from collections.abc import Callable

import torch
from lightning.pytorch.plugins.precision import DoublePrecision, Precision
from torch import nn

from src.model.losses import CrossEntropy, Loss
from src.model.mlp import ACTIVATIONS, MLP
from src.model.optimizers import Muon
from src.numerics import OFF, all_threads_flush, strict_mode

# Steps timed with each number of threads, and steps before them that are not: the first of an epoch, and those after a change.
_TIMED, _SETTLING = 8, 2
_HALF = _TIMED + _SETTLING
# Modules and optimizers whose results have been compared between thread counts, bit for bit (tests/test_threads.py).
# Normalisation and convolutions are not among them: they sum up each thread's part by itself.
_MODULES = (MLP, nn.Linear, nn.Sequential, nn.Flatten, nn.Identity, nn.Dropout, *ACTIVATIONS.values())
_SIGMOIDS = (nn.Sigmoid, nn.SiLU)
_SHARED_OUT = 2**15  # numbers from which on torch shares an elementwise operation out among threads
_OPTIMIZERS = (
    torch.optim.Adagrad,
    torch.optim.Adam,
    torch.optim.AdamW,
    torch.optim.RMSprop,
    torch.optim.SGD,
    Muon,
)


def independent_of_threads(
    net: nn.Module, loss: Loss, optimizer: torch.optim.Optimizer, precision: Precision, batch_size: int
) -> bool:
    """Whether training on this machine gives the same weights with any number of CPU threads, bit for bit.

    It does with linear layers, activations and dropout in float32 and float64, where MKL's strict mode is in force. In
    bfloat16 products are oneDNN's, which has no such mode. Where threads share out a sigmoid, they round what is left over
    at the end of each part differently; smaller batches are computed by one thread in any case.

    Args:
        net: the network; types are compared exactly, since a subclass may compute anything.
        loss: one of ``src.model.losses``.
        optimizer: the optimizer, its type compared exactly, too.
        precision: Lightning's plugin for it.
        batch_size: samples of an optimizer step.
    """
    modules = list(net.modules())
    widest = max((module.out_features for module in modules if isinstance(module, nn.Linear)), default=0)
    has_sigmoid = type(loss) is not CrossEntropy or any(isinstance(module, _SIGMOIDS) for module in modules)
    return (
        all(type(module) in _MODULES and "forward" not in vars(module) for module in modules)
        and not (has_sigmoid and batch_size * widest >= _SHARED_OUT)
        and type(optimizer) in _OPTIMIZERS
        and type(precision) in (Precision, DoublePrecision)
        and strict_mode() != OFF
        and all_threads_flush()
    )


class ThreadTrial:
    """Takes the first steps of an epoch with all threads and with one, and leaves the faster number in force.

    Which it is depends on the network and on what else the machine does: beside another busy process two threads can be
    ten times slower than one, since each waits for the other.

    Args:
        threads: all that this process may use.
        clock: seconds.
    """

    def __init__(self, threads: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self._threads, self._clock, self._steps = threads, clock, 0
        self._began = self._with_all = 0.0
        torch.set_num_threads(threads)

    def after_step(self) -> None:
        """Count a step, and change the number of threads when its time has come."""
        self._steps += 1
        if self._steps in (_SETTLING, _HALF + _SETTLING):
            self._began = self._clock()
        elif self._steps == _HALF:
            self._with_all = self._clock() - self._began
            torch.set_num_threads(1)
        elif self._steps == 2 * _HALF and self._clock() - self._began > self._with_all:
            torch.set_num_threads(self._threads)
