"""The optimizer steps of a chunk of batches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from lightning.pytorch.plugins.precision import DoublePrecision, Precision
from lightning.pytorch.strategies import Strategy
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from src.data.chunks import Chunk
from src.fast.backprop import Backprop, has_hooks
from src.fast.flat import FlatAdam
from src.fast.graph import ChunkGraph
from src.fast.shared_memory import SharedSum
from src.fast.threads import ThreadTrial, independent_of_threads
from src.randomness import MODEL, seed_step, step_seeds
from src.tasks.losses import Loss

# Schedules that change only the learning rate. Types are compared exactly, since a subclass may change anything.
_LR_ONLY = (
    lr_scheduler.ConstantLR,
    lr_scheduler.CosineAnnealingLR,
    lr_scheduler.ExponentialLR,
    lr_scheduler.LambdaLR,
    lr_scheduler.LinearLR,
    lr_scheduler.MultiStepLR,
    lr_scheduler.PolynomialLR,
    lr_scheduler.StepLR,
)


@dataclass(frozen=True)
class StepContext:
    """The objects and settings of a training that its optimizer steps use.

    Attributes:
        task: the LightningModule of network and loss, which checks the shape of the outputs.
        net: the network.
        loss: one of ``src.tasks.losses``.
        optimizer: optimizer of all parameters of the task, including those of the loss.
        schedule: stepped after every optimizer step; None if there is none.
        gradient_clip_norm: maximum 2-norm of all gradients together; None does not clip.
        precision: Lightning's precision plugin; its ``scaler`` scales the loss.
        strategy: Lightning's strategy, which prepares DDP for a backward pass.
        count_step: called after every optimizer step.
        seed: seed of dropout, together with epoch, step and rank.
        rank: rank of this process among ``world_size``.
        world_size: number of processes.
        num_nodes: number of machines.
        steps_per_epoch: optimizer steps per epoch.
        batch_size: samples per optimizer step over all ranks.
        steps_per_execution: optimizer steps per chunk; the last chunk of an epoch may have fewer.
        varies_threads: whether each epoch selects its number of CPU threads, if results do not depend on it.
    """

    task: nn.Module
    net: nn.Module
    loss: Loss
    optimizer: Optimizer
    schedule: LRScheduler | None
    gradient_clip_norm: float | None
    precision: Precision
    strategy: Strategy
    count_step: Callable[[], None]
    seed: int
    rank: int
    world_size: int
    num_nodes: int
    steps_per_epoch: int
    batch_size: int
    steps_per_execution: int
    varies_threads: bool


class Steps:
    """Takes optimizer steps at the lowest cost that network, loss and optimizer allow.

    ========================  ============================================  =======================
    part of a step            implementation                                otherwise
    ========================  ============================================  =======================
    gradients                 ``Backprop``: an MLP without dropout or norm  autograd
    update of the weights     ``FlatAdam``: fused Adam or AdamW             the optimizer's ``step``
    both, a chunk at a time   ``ChunkGraph``: those two, float32, one GPU   step by step
    ========================  ============================================  =======================
    """

    def __init__(self, context: StepContext) -> None:
        self._all_threads = torch.get_num_threads()
        self._thread_trial: ThreadTrial | None = None
        self._epoch: int | None = None
        self._shared_sum = _make_shared_sum(context)
        self.learning_rates: list[float] = []  # of each parameter group at the last step
        self._prepare(context)

    def _prepare(self, context: StepContext) -> None:
        """Select the fastest implementation that supports network, loss and optimizer in their current state."""
        self._context, self._scaler = context, getattr(context.precision, "scaler", None)
        self._parameters = list(context.task.parameters())
        unmixed = type(context.precision) in (Precision, DoublePrecision)
        needs_autograd = not unmixed or torch.is_anomaly_enabled() or has_hooks(context.task)
        self._backprop = None if needs_autograd else Backprop.of(context.net, context.loss)
        self._flat = self._flatten()
        self._graph = self._make_graph()
        self._captured = self._constants()

    def _is_valid(self) -> bool:
        """Whether the selected implementation still supports network, loss and optimizer."""
        return (
            (self._backprop is None or self._backprop.is_valid(self._context.net, self._context.loss))
            and not (self._backprop and has_hooks(self._context.task))
            and (self._flat is None or self._flat.is_valid)
            and (self._graph is None or self._captured == self._constants())
        )

    def _constants(self) -> list[dict[str, Any]]:
        """The optimizer settings that a captured graph contains as constants: all but the learning rate."""
        groups = self._context.optimizer.param_groups
        return [{key: group[key] for key in group if key not in ("params", "lr")} for group in groups]

    def _flatten(self) -> FlatAdam | None:
        optimizer, backprop = self._context.optimizer, self._backprop
        parameters = backprop.parameters if backprop else self._parameters
        supported = self._scaler is None and FlatAdam.supports(optimizer, parameters)
        if not supported or not FlatAdam.has_one_count(optimizer, parameters):
            return None
        return FlatAdam(cast(torch.optim.Adam, optimizer), parameters, backprop.gradient if backprop else None)

    def _make_graph(self) -> ChunkGraph | None:
        context = self._context
        if not (self._backprop and self._flat) or context.world_size > 1 or not _changes_lr_only(context.schedule):
            return None
        # The CUDA kernel of fused Adam takes learning rates that change within a graph in float32 only.
        if context.strategy.root_device.type != "cuda" or self._backprop.gradient.dtype != torch.float32:
            return None
        return ChunkGraph(self._steps_to_capture, self._flat.state, context.steps_per_execution)

    def take(self, context: StepContext, chunk: Chunk, epoch: int) -> tuple[Tensor, Tensor]:
        """Take one step for each batch of a chunk.

        Args:
            context: the current state of the training.
            chunk: normalised samples.
            epoch: number of the current epoch, from 0.

        Returns:
            The loss of each step (steps,), this rank's part of the mean over the global batch, and the logits (samples,
            outputs).
        """
        if context != self._context or not self._is_valid():
            self._prepare(context)
        if epoch != self._epoch:
            self._epoch = epoch
            if not (self._backprop and self._flat):  # unsupported cases may have become supported, as in a resumed run
                self._prepare(context)
            self._begin_epoch()
        with torch.no_grad():
            losses, logits = self._by_backprop(chunk) if self._backprop else self._by_autograd(chunk, epoch)
            if self._flat:
                self._flat.sync_state()
        return losses, logits

    def _begin_epoch(self) -> None:
        """Start the selection of the number of threads for this epoch."""
        context = self._context
        varies = context.varies_threads and self._all_threads > 1 and context.strategy.root_device.type == "cpu"
        if varies and independent_of_threads(
            context.net, context.loss, context.optimizer, context.precision, context.batch_size
        ):
            self._thread_trial = ThreadTrial(self._all_threads)
        else:
            self._thread_trial = None
            torch.set_num_threads(self._all_threads)

    def _by_backprop(self, chunk: Chunk) -> tuple[Tensor, Tensor]:
        backprop = cast(Backprop, self._backprop)
        backprop.attach()
        inputs, targets = chunk.inputs.flatten(1), backprop.targets(chunk.labels)
        if self._graph and self._graph.supports(inputs, len(chunk.totals)):
            logits = self._by_graph(inputs, targets, len(chunk.totals))
        else:
            outs = []
            for x, y, total in zip(inputs.split(chunk.sizes), targets.split(chunk.sizes), chunk.totals, strict=True):
                if self._flat is None:
                    backprop.attach()  # a custom optimizer's step may have set the gradients to None
                outs.append(backprop(x, y, total))
                if self._context.world_size > 1:
                    (self._shared_sum or torch.distributed.all_reduce)(backprop.gradient)
                self._step()
            logits = torch.cat(outs)
        # Computed from the logits of all steps in one call; the gradients do not need the losses.
        losses = self._context.loss(logits, chunk.labels, reduction="none").split(chunk.sizes)
        return torch.stack([loss.sum() for loss in losses]) / losses[0].new_tensor(chunk.totals), logits

    def _by_graph(self, inputs: Tensor, targets: Tensor, steps: int) -> Tensor:
        """Replay the captured steps with the learning rates of the schedule."""
        schedule, rates = self._context.schedule, []
        for _ in range(steps):
            rates.append(self._context.optimizer.param_groups[0]["lr"])
            self._context.count_step()
            if schedule is not None:
                schedule.step()
        self.learning_rates = rates[-1:]
        return cast(ChunkGraph, self._graph)(inputs, targets, rates)

    def _steps_to_capture(self, inputs: Tensor, targets: Tensor, rates: Sequence[Tensor]) -> Tensor:
        """The GPU work of a chunk's steps, without step counts and the schedule, to be captured."""
        backprop, flat, size = cast(Backprop, self._backprop), cast(FlatAdam, self._flat), self._context.batch_size
        outs = []
        for x, y, rate in zip(inputs.split(size), targets.split(size), rates, strict=True):
            outs.append(backprop(x, y, len(x)))
            self._clip()
            flat.step(rate)
        return torch.cat(outs)

    @torch.enable_grad()
    def _by_autograd(self, chunk: Chunk, epoch: int) -> tuple[Tensor, Tensor]:
        context = self._context
        device, world = context.strategy.root_device, context.world_size
        seeds = step_seeds(MODEL, context.seed, epoch, context.rank, context.steps_per_epoch)
        batches = zip(chunk.inputs.split(chunk.sizes), chunk.labels.split(chunk.sizes), chunk.totals, strict=True)
        losses, outs = [], []
        for step, (x, y, total) in enumerate(batches, chunk.first_step):
            seed_step(seeds[step], device)
            outs.append(logits := context.task(x))
            losses.append(loss := context.loss(logits, y) / total)
            self._backward(loss * world if world > 1 else loss)  # DDP averages gradients, hence the factor
            self._step()
        return torch.stack(losses).detach(), torch.cat(outs).detach()

    def _backward(self, loss: Tensor) -> None:
        for parameter in self._parameters:
            parameter.grad = None
        if self._scaler is not None:
            loss = self._scaler.scale(loss)
        self._context.strategy.pre_backward(loss)  # prepares DDP
        loss.backward()

    def _step(self) -> None:
        """Step the optimizer and the schedule, and count the step."""
        context = self._context
        self._clip()
        if self._flat and not self._flat.gather_grads():  # a parameter without gradient must be skipped
            self._flat.sync_state()
            self._flat = None
        if self._scaler is not None:
            self._scaler.step(context.optimizer)
            self._scaler.update()
        else:
            (self._flat or context.optimizer).step()
        context.count_step()
        self.learning_rates = [group["lr"] for group in context.optimizer.param_groups]
        if context.schedule is not None:
            context.schedule.step()
        if self._thread_trial:
            self._thread_trial.after_step()

    def _clip(self) -> None:
        norm = self._context.gradient_clip_norm
        if norm is None:
            return
        if self._scaler is not None:
            self._scaler.unscale_(self._context.optimizer)
        nn.utils.clip_grad_norm_(self._parameters, norm)


def _make_shared_sum(context: StepContext) -> SharedSum | None:
    """Create a ``SharedSum`` for the gradients if all ranks are CPU processes of this machine."""
    parameters = list(context.task.parameters())
    dtypes = {parameter.dtype for parameter in parameters}
    on_cpu = context.strategy.root_device.type == "cpu"
    if context.world_size == 1 or context.num_nodes > 1 or len(dtypes) > 1 or not on_cpu:
        return None
    shared = SharedSum.of(sum(map(torch.numel, parameters)), dtypes.pop())
    if shared:
        shared.hook(cast(DistributedDataParallel, context.strategy.model))
    return shared


def _changes_lr_only(schedule: LRScheduler | None) -> bool:
    if type(schedule) is lr_scheduler.SequentialLR:
        return all(map(_changes_lr_only, schedule._schedulers))
    return schedule is None or type(schedule) in _LR_ONLY
