"""The optimizer steps of a chunk as one CUDA graph."""

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

log = logging.getLogger(__name__)

# Maps inputs (samples, features), targets (samples, outputs) and the learning rate of each step to logits (samples, outputs).
TakeSteps = Callable[[Tensor, Tensor, Sequence[Tensor]], Tensor]
# Captures the kernels of a function; returns a function that replays them, and the tensor with the result of a replay.
Capture = Callable[[Callable[[], Tensor]], tuple[Callable[[], object], Tensor]]


def on_cuda(function: Callable[[], Tensor]) -> tuple[Callable[[], object], Tensor]:
    """Capture a function as a CUDA graph, without running its kernels."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = function()
    return graph.replay, result


class ChunkGraph:
    """Takes the steps of a chunk in a single launch.

    For a small network the GPU runs a step much faster than Python launches its two dozen kernels. The steps of the first chunk
    are taken with and without the graph from the same state; if the results differ, or the capture fails, a warning is logged
    and all steps are launched individually.

    Args:
        take: takes the steps; it must launch the same kernels for all arguments.
        state: every tensor that the steps change and later steps need.
        steps: number of steps in a chunk.
        capture: captures a function as a graph.
    """

    def __init__(self, take: TakeSteps, state: Sequence[Tensor], steps: int, capture: Capture = on_cuda) -> None:
        self._take, self._state, self._capture = take, state, capture
        self._rates = state[0].new_zeros(steps)
        self._replay: Callable[[], object] | None = None
        self.works = True

    def supports(self, inputs: Tensor, steps: int) -> bool:
        """Whether a chunk has the captured shape."""
        return self.works and steps == len(self._rates) and (not self._replay or inputs.shape == self._inputs.shape)

    def __call__(self, inputs: Tensor, targets: Tensor, rates: Sequence[float]) -> Tensor:
        """Take the steps and return the logits, which the next call overwrites."""
        self._rates.copy_(torch.tensor(rates))
        if self._replay is None:
            return self._first(inputs, targets)
        self._inputs.copy_(inputs)
        self._targets.copy_(targets)
        self._replay()
        return self._logits

    def _first(self, inputs: Tensor, targets: Tensor) -> Tensor:
        self._inputs, self._targets = inputs.clone(), targets.clone()
        before = [tensor.clone() for tensor in self._state]
        logits = self._steps()  # warm-up, which initialises libraries
        after = [tensor.clone() for tensor in self._state]
        try:
            self._set(before)
            replay, self._logits = self._capture(self._steps)
            self._set(before)
            replay()
            same = all(torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(after, self._state, strict=True))
            problem = "" if same else "the weights after a chunk differ"
        except RuntimeError as error:
            problem = str(error).splitlines()[0]
        self._set(after)
        if problem:
            self.works = False
            log.warning("steps are launched one by one, since they cannot be captured as a CUDA graph: %s", problem)
        else:
            self._replay = replay
        return logits

    def _steps(self) -> Tensor:
        return self._take(self._inputs, self._targets, self._rates.unbind())

    def _set(self, values: Sequence[Tensor]) -> None:
        for tensor, value in zip(self._state, values, strict=True):
            tensor.copy_(value)
