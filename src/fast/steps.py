"""The optimizer steps of a training, a chunk of batches at a time."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import lightning.pytorch as pl
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.plugins.precision import DoublePrecision, Precision
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import lr_scheduler
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from src.data.chunks import Chunk
from src.data.module import TensorData
from src.fast.backprop import Backprop
from src.fast.flat import FlatAdam
from src.fast.graph import ChunkGraph
from src.fast.shared_memory import SharedSum
from src.fast.threads import ThreadTrial, independent_of_threads
from src.randomness import MODEL, seed_step, step_seeds

if TYPE_CHECKING:
    from src.tasks.classification import Classifier

# Lightning calls these of every callback at every step.
_OF_A_STEP = ("on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step")
# Schedules that change the learning rate and nothing else. A subclass may change anything.
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


class Steps:
    """Takes the steps of a training as cheaply as they can be taken, made when it starts.

    Lightning goes along with each step only where a callback listens to single steps, or the loss is scaled (16-mixed);
    it costs about as much as the step of a small network. Autograd does where ``Backprop`` cannot.

    Args:
        model: what is trained, by a trainer.
        varies_threads: let each epoch select its number of CPU threads where results do not depend on it.
    """

    def __init__(self, model: "Classifier", varies_threads: bool = False) -> None:
        self._model, trainer = model, model.trainer
        self._data = cast(TensorData, trainer.datamodule)  # type: ignore[attr-defined]
        optimizer, schedule = model.optimizers(), model.lr_schedulers()
        assert isinstance(optimizer, LightningOptimizer)
        assert not isinstance(schedule, list)
        self._optimizer = optimizer
        self._schedule = cast(LRScheduler, schedule) if not isinstance(schedule, ReduceLROnPlateau) else None
        self._parameters = list(model.parameters())
        self._progress = trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        precision = trainer.precision_plugin
        self._scaler = getattr(precision, "scaler", None)
        listened_to = any(map(_listens_to_steps, trainer.callbacks))  # type: ignore[attr-defined]
        self._alone = not listened_to and self._scaler is None
        exact = type(precision) in (Precision, DoublePrecision)
        self._written_out = self._alone and exact and not torch.is_anomaly_enabled()
        self._shared_sum = self._share()
        self._varies_threads, self._threads = varies_threads, torch.get_num_threads()
        self._thread_trial: ThreadTrial | None = None
        self.learning_rates: list[float] = []  # of each parameter group, at the last step
        self._prepare()

    def _share(self) -> SharedSum | None:
        """Add up gradients through shared memory, where all ranks are processes of this machine."""
        trainer, dtypes = self._model.trainer, {one.dtype for one in self._parameters}
        if trainer.world_size == 1 or trainer.num_nodes > 1 or len(dtypes) > 1 or self._model.device.type != "cpu":
            return None
        shared = SharedSum.of(sum(map(torch.numel, self._parameters)), dtypes.pop())
        if shared:
            shared.hook(cast(DistributedDataParallel, trainer.strategy.model))
        return shared

    def _prepare(self) -> None:
        """Find out what the network, the loss and the optimizer, as they are now, allow."""
        self._backprop = Backprop.of(self._model.net, self._model.loss) if self._written_out else None
        self._flat = self._flatten()
        self._graph = self._make_graph()
        self._in_graph = self._constants()

    def _holds(self) -> bool:
        """Whether they still are as ``_prepare`` found them."""
        return (
            (self._backprop is None or self._backprop.holds(self._model.net, self._model.loss))
            and (self._flat is None or self._flat.holds)
            and (self._graph is None or self._in_graph == self._constants())
        )

    def _constants(self) -> object:
        """What a captured graph would not see change: the optimizer's settings but for the learning rate, and clipping."""
        groups = self._optimizer.param_groups
        settings = [{key: group[key] for key in group if key not in ("params", "lr")} for group in groups]
        return settings, self._model.gradient_clip_norm

    def _flatten(self) -> FlatAdam | None:
        """Take the steps on all parameters at once, if the optimizer is of a kind that can."""
        optimizer, backprop = self._optimizer.optimizer, self._backprop
        parameters = backprop.parameters if backprop else self._parameters
        if not self._alone or not FlatAdam.fits(optimizer, parameters):
            return None
        return FlatAdam(cast(torch.optim.Adam, optimizer), parameters, backprop.gradient if backprop else None)

    def _make_graph(self) -> ChunkGraph | None:
        """Launch the steps of a chunk at once, on one GPU."""
        trainer = self._model.trainer
        if not (self._backprop and self._flat) or trainer.world_size > 1 or not _changes_lr_only(self._schedule):
            return None
        if self._model.device.type != "cuda":
            return None
        return ChunkGraph(self._take_at, self._flat.state, self._data.steps_per_execution)

    def take(self, chunk: Chunk) -> tuple[Tensor, Tensor]:
        """Take a step for each batch of a chunk.

        Returns:
            The loss of each step (steps,), this rank's share of the mean over the global batch, and the logits (samples,
            classes).
        """
        if not self._holds():
            self._prepare()
        if chunk.first_step == 0:
            self._thread_trial = ThreadTrial(self._threads) if self._may_vary_threads() else None
        return self._by_hand(chunk) if self._backprop else self._by_autograd(chunk)

    def _may_vary_threads(self) -> bool:
        """Whether the number of CPU threads may change: ``trainer.threads=auto``, and the results do not depend on it."""
        model, optimizer, precision = self._model, self._optimizer.optimizer, self._model.trainer.precision_plugin
        varies = self._varies_threads and self._threads > 1 and model.device.type == "cpu"
        return varies and independent_of_threads(model.net, model.loss, optimizer, precision, self._data.batch_size)

    @torch.no_grad()
    def _by_hand(self, chunk: Chunk) -> tuple[Tensor, Tensor]:
        backprop, world = cast(Backprop, self._backprop), self._model.trainer.world_size
        backprop.attach()
        inputs = self._model.preprocess(chunk.inputs).flatten(1)
        targets = backprop.targets(chunk.labels)
        if self._graph and self._graph.fits(inputs, len(chunk.totals)):
            logits = self._by_graph(inputs, targets, len(chunk.totals))
        else:
            outs = []
            for x, y, total in zip(inputs.split(chunk.sizes), targets.split(chunk.sizes), chunk.totals, strict=True):
                if self._flat is None:
                    backprop.attach()  # the optimizer's own step may have set the gradients to None
                outs.append(backprop(x, y, total))
                if world > 1:
                    (self._shared_sum or torch.distributed.all_reduce)(backprop.gradient)
                self._step()
            logits = torch.cat(outs)
        if self._flat:
            self._flat.settle()
        losses = self._model.loss(logits, chunk.labels, reduction="none").split(chunk.sizes)
        return torch.stack([loss.sum() for loss in losses]) / losses[0].new_tensor(chunk.totals), logits

    def _by_graph(self, inputs: Tensor, targets: Tensor, steps: int) -> Tensor:
        """The schedule is asked ahead for the rate of each step."""
        rates = []
        for _ in range(steps):
            rates.append(self._optimizer.param_groups[0]["lr"])
            self._progress.increment_ready()
            self._progress.increment_completed()
            if self._schedule is not None:
                self._schedule.step()
        self.learning_rates = rates[-1:]
        return cast(ChunkGraph, self._graph)(inputs, targets, rates)

    def _take_at(self, inputs: Tensor, targets: Tensor, rates: Sequence[Tensor]) -> Tensor:
        """The steps of a chunk and nothing else, for a graph."""
        backprop, flat, size = cast(Backprop, self._backprop), cast(FlatAdam, self._flat), self._data.batch_size
        outs = []
        for x, y, rate in zip(inputs.split(size), targets.split(size), rates, strict=True):
            outs.append(backprop(x, y, len(x)))
            self.clip()
            flat.step(rate)
        return torch.cat(outs)

    def _by_autograd(self, chunk: Chunk) -> tuple[Tensor, Tensor]:
        model, world = self._model, self._model.trainer.world_size
        seeds = step_seeds(MODEL, model.seed, model.current_epoch, model.global_rank, model.steps_per_epoch)
        inputs = model.preprocess(chunk.inputs).split(chunk.sizes)
        labels = chunk.labels.split(chunk.sizes)
        losses, outs = [], []
        for step, (x, y, total) in enumerate(zip(inputs, labels, chunk.totals, strict=True), chunk.first_step):
            seed_step(seeds[step], model.device)
            outs.append(out := model.checked_logits(model.net(x), len(x)))
            losses.append(loss := model.loss(out, y) / total)
            self._backward(loss * world if world > 1 else loss)  # DDP averages gradients, hence times the ranks
            self._step()
        if self._flat:
            self._flat.settle()
        return torch.stack(losses).detach(), torch.cat(outs).detach()

    def _backward(self, loss: Tensor) -> None:
        if self._alone:
            for parameter in self._parameters:
                parameter.grad = None
            self._model.trainer.strategy.pre_backward(loss)  # DDP gets ready
            loss.backward()
        else:
            self._optimizer.zero_grad()
            self._model.manual_backward(loss)

    def _step(self) -> None:
        if self._alone:
            self.clip()
            self._progress.increment_ready()
            if self._flat and not self._flat.collect():
                self._flat.settle()
                self._flat = None
            (self._flat or self._optimizer.optimizer).step()
            self._progress.increment_completed()  # this is what global_step counts
        else:
            self._optimizer.step()  # on_before_optimizer_step clips
        self.learning_rates = [group["lr"] for group in self._optimizer.param_groups]
        if self._schedule is not None:
            self._schedule.step()
        if self._thread_trial:
            self._thread_trial.after_step()

    def clip(self) -> None:
        """Clip the gradients, all together, where that is asked for."""
        norm = self._model.gradient_clip_norm
        if norm is None:
            return
        if self._scaler is not None and getattr(self._optimizer.optimizer, "_step_supports_amp_scaling", False):
            self._scaler.unscale_(self._optimizer.optimizer)  # fused optimizers leave this to their own step
        nn.utils.clip_grad_norm_(self._model.parameters(), norm)


def _listens_to_steps(callback: pl.Callback) -> bool:
    """Whether a callback has hooks of a step, of its class or, as a ``LambdaCallback`` has them, of its own."""
    return any(
        getattr(getattr(callback, hook), "__func__", None) is not getattr(pl.Callback, hook) for hook in _OF_A_STEP
    )


def _changes_lr_only(schedule: LRScheduler | None) -> bool:
    if type(schedule) is lr_scheduler.SequentialLR:
        return all(map(_changes_lr_only, schedule._schedulers))
    return schedule is None or type(schedule) in _LR_ONLY
