"""How many CPU threads take the steps of an epoch."""

import time

import torch
from lightning.pytorch.plugins.precision import DoublePrecision, Precision
from torch import nn

from src.model.mlp import ACTIVATIONS, MLP
from src.model.optimizers import Muon
from src.numerics import OFF, all_threads_flush, strict_mode

# Steps timed with each number of threads, and steps before them that are not: the first of an epoch, and those after a change.
_TIMED, _SETTLING = 8, 2
_HALF = _TIMED + _SETTLING
# Modules and optimizers whose results have been compared between thread counts, bit for bit (tests/test_threads.py).
# Normalisation and convolutions are not among them: they sum up each thread's part by itself.
_MODULES = (MLP, nn.Linear, nn.Sequential, nn.Flatten, nn.Identity, nn.Dropout, *ACTIVATIONS.values())
_OPTIMIZERS = (
    torch.optim.Adagrad,
    torch.optim.Adam,
    torch.optim.AdamW,
    torch.optim.RMSprop,
    torch.optim.SGD,
    Muon,
)


def independent_of_threads(net: nn.Module, optimizer: torch.optim.Optimizer, precision: Precision) -> bool:
    """Whether training on this machine gives the same weights with any number of CPU threads, bit for bit.

    It does with linear layers, activations and dropout in float32 and float64, where MKL's strict mode is in force. In
    bfloat16 products are oneDNN's, which has no such mode.

    Args:
        net: the network; types are compared exactly, since a subclass may compute anything.
        optimizer: the optimizer, compared likewise.
        precision: Lightning's plugin for it.
    """
    return (
        all(type(module) in _MODULES and "forward" not in vars(module) for module in net.modules())
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
    """

    def __init__(self, threads: int) -> None:
        self._threads, self._steps = threads, 0
        self._began = self._with_all = 0.0
        torch.set_num_threads(threads)

    def after_step(self) -> None:
        """Count a step, and change the number of threads when its time has come."""
        self._steps += 1
        if self._steps in (_SETTLING, _HALF + _SETTLING):
            self._began = time.perf_counter()
        elif self._steps == _HALF:
            self._with_all = time.perf_counter() - self._began
            torch.set_num_threads(1)
        elif self._steps == 2 * _HALF and time.perf_counter() - self._began > self._with_all:
            torch.set_num_threads(self._threads)
