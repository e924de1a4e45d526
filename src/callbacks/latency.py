"""Costs of inference: latency, parameters, bytes, floating-point operations."""

import copy
import time
from collections.abc import Callable, Sequence
from typing import Annotated, ClassVar

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from src.bounds import Bounds, Positive
from src.callbacks.network import example_input, network_of
from src.errors import ConfigError
from src.numerics import one_thread

# A repetition consists of as many calls as take at least this time, in seconds: on a busy machine, short ones are more often
# undisturbed.
_REPETITION_S = 0.0005


class Latency(pl.Callback):
    """Measures the forward pass of the network on the CPU, after the test, and logs the following metrics:

    ``latency_ms`` and ``latency_ms_<batch_size>``, milliseconds for one sample and for a batch, on one thread in float32: the
    minimum of repetitions that alternate between the two, since other load on the machine can only increase it. For one sample,
    ``flops``, the floating-point operations of matrix products, convolutions and attention as counted by torch, in which a
    multiplication and an addition are two. ``parameters``, their number, and ``bytes``, the size of parameters and buffers.

    The best weights are measured, if the run has a checkpoint of them. Preprocessing is not included.
    """

    accepts_chunks: ClassVar[bool] = True

    def __init__(
        self,
        *,
        batch_size: Annotated[int, Bounds(ge=2, le=65_536), "samples of the larger batch"] = 256,
        seconds: Annotated[Positive, "duration of the measurement"] = 1.0,
    ) -> None:
        self.batch_size, self.seconds = batch_size, seconds

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Check before the training that the network can be measured after it.

        Raises:
            ConfigError: there is no test, the shape of a sample is unknown, or the network does not take a sample alone.
        """
        if stage != "fit":
            return
        name = type(pl_module).__name__
        if not is_overridden("test_step", pl_module):
            raise ConfigError(f"callbacks=latency measures after the test, and {name} has no test_step: leave it out.")
        net, sample = _measured(trainer, pl_module)
        try:
            with torch.inference_mode():
                net(sample)
        except Exception as error:  # of any network
            raise ConfigError(
                f"callbacks=latency calls the network with a sample of shape {tuple(sample.shape)}, and that of {name} raises "
                f"{type(error).__name__} ({str(error).partition(chr(10))[0]}): leave it out."
            ) from error

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure on rank 0."""
        if not trainer.is_global_zero:
            return
        net, sample = _measured(trainer, pl_module)
        batch = sample.repeat(self.batch_size, *[1] * (sample.dim() - 1))
        with torch.inference_mode(), one_thread():
            single, larger = latencies([lambda: net(sample), lambda: net(batch)], self.seconds)
            flops = count_flops(net, sample)
        tensors = [*net.parameters(), *net.buffers()]
        costs = {
            "latency_ms": single,
            f"latency_ms_{self.batch_size}": larger,
            "flops": flops,
            "parameters": sum(parameter.numel() for parameter in net.parameters()),
            "bytes": sum(tensor.numel() * tensor.element_size() for tensor in tensors),
        }
        pl_module.log_dict({name: float(value) for name, value in costs.items()}, rank_zero_only=True)


def _measured(trainer: pl.Trainer, pl_module: pl.LightningModule) -> tuple[nn.Module, torch.Tensor]:
    """A copy of the network on the CPU in evaluation mode and float32, and an input for it."""
    sample = example_input(trainer.datamodule)  # type: ignore[attr-defined]
    if sample is None:
        raise ConfigError(
            "callbacks=latency needs the attribute input_shape of the data module, and it has none: add it, or leave the "
            "callback out."
        )
    return copy.deepcopy(network_of(pl_module)).cpu().float().eval(), sample


def latencies(calls: Sequence[Callable[[], object]], seconds: float, repetitions: int = 5) -> list[float]:
    """Milliseconds of each of several calls: the minimum of repetitions that alternate between them.

    Args:
        calls: functions without arguments.
        seconds: duration of all repetitions, each of as many calls as take at least 0.5 ms.
        repetitions: minimum number of repetitions, even if they take longer.
    """
    numbers = []
    for call in calls:
        call()  # the first call allocates memory
        number = 1
        while min(_seconds(call, number) for _ in range(3)) < _REPETITION_S:
            number *= 2
        numbers.append(number)
    rounds: list[list[float]] = []
    end = time.perf_counter() + seconds
    while len(rounds) < repetitions or time.perf_counter() < end:
        rounds.append([_seconds(call, number) / number for call, number in zip(calls, numbers, strict=True)])
    return [1000 * min(times) for times in zip(*rounds, strict=True)]


def _seconds(call: Callable[[], object], number: int) -> float:
    start = time.perf_counter()
    for _ in range(number):
        call()
    return time.perf_counter() - start


def count_flops(net: nn.Module, inputs: torch.Tensor) -> int:
    """Floating-point operations of a forward pass, those of elementwise operations excluded."""
    with FlopCounterMode(display=False) as counter:
        net(inputs)
    return int(counter.get_total_flops())
