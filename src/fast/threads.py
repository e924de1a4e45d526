"""Selection of the number of CPU threads for each epoch."""

import time
from collections.abc import Callable

import torch
from lightning.pytorch.plugins.precision import DoublePrecision, Precision
from torch import nn

from src.fast.backprop import has_formula
from src.models.mlp import ACTIVATIONS, MLP
from src.numerics import OFF, all_threads_flush, strict_mode
from src.optim.optimizers import Muon
from src.tasks.losses import CrossEntropy, Loss

# Timed steps with each number of threads, and warm-up steps before them.
_TIMED, _SETTLING = 8, 2
_HALF = _TIMED + _SETTLING
# Modules and optimizers tested to be bit-identical across thread counts (tests/slow/test_numerics.py). Normalisation and
# convolutions are not: they reduce per thread.
_MODULES = (MLP, nn.Linear, nn.Sequential, nn.Flatten, nn.Identity, nn.Dropout, *ACTIVATIONS.values())
_SIGMOIDS = (nn.Sigmoid, nn.SiLU)
_GRAIN_SIZE = 2**15  # torch's grain size: smaller elementwise operations use one thread
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
    """Whether training on this machine gives bit-identical weights with any number of CPU threads.

    This is the case for linear layers, activations and dropout in float32 and float64 if MKL's strict mode is active. bfloat16
    products are computed by oneDNN, which has no strict mode. A sigmoid that is split among threads is rounded differently at
    the end of each part, where vector instructions do not apply; below torch's grain size it is not split.

    Args:
        net: the network, which must consist of tested modules; types are compared exactly, since a subclass may compute anything.
        loss: the loss, which must be a tested one.
        optimizer: the optimizer, whose type is compared exactly.
        precision: Lightning's precision plugin.
        batch_size: samples per optimizer step.
    """
    modules = list(net.modules())
    widest = max((module.out_features for module in modules if isinstance(module, nn.Linear)), default=0)
    has_sigmoid = type(loss) is not CrossEntropy or any(isinstance(module, _SIGMOIDS) for module in modules)
    return (
        all(type(module) in _MODULES and "forward" not in vars(module) for module in modules)
        and has_formula(loss)
        and not (has_sigmoid and batch_size * widest >= _GRAIN_SIZE)
        and type(optimizer) in _OPTIMIZERS
        and type(precision) in (Precision, DoublePrecision)
        and strict_mode() != OFF
        and all_threads_flush()
    )


class ThreadTrial:
    """Times the first steps of an epoch with all threads and with one, and uses the faster number for the rest.

    The timed steps are part of the training. Which number is faster depends on the network and on the load of the machine: while
    another process uses a core, two threads can be ten times slower than one, because each waits for the other.

    Args:
        threads: maximum number of threads.
        clock: returns seconds.
    """

    def __init__(self, threads: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self._threads, self._clock, self._steps = threads, clock, 0
        self._began = self._with_all = 0.0
        torch.set_num_threads(threads)

    def after_step(self) -> None:
        """Count a step, and set the number of threads when a measurement starts or ends."""
        self._steps += 1
        if self._steps in (_SETTLING, _HALF + _SETTLING):
            self._began = self._clock()
        elif self._steps == _HALF:
            self._with_all = self._clock() - self._began
            torch.set_num_threads(1)
        elif self._steps == 2 * _HALF and self._clock() - self._began > self._with_all:
            torch.set_num_threads(self._threads)
