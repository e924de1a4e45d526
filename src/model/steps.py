"""The optimizer steps of a training, a chunk of batches at a time."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import lightning.pytorch as pl
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.plugins.precision import DoublePrecision, Precision
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, ReduceLROnPlateau

from src.data.chunks import Chunk
from src.data.module import TensorData
from src.model.backprop import Backprop
from src.model.flat import FlatAdam
from src.model.graph import ChunkGraph
from src.model.shared_sum import SharedSum
from src.randomness import MODEL, seed_step, step_seeds

if TYPE_CHECKING:
    from src.model.classifier import Classifier

# Lightning calls these of every callback at every step.
_OF_A_STEP = ("on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step")


class Steps:
    """Takes the steps of a training as cheaply as they can be taken, made when it starts.

    Lightning goes along with each step only where a callback listens to single steps, or the loss is scaled (16-mixed);
    it costs about as much as the step of a small network. Autograd does where ``Backprop`` cannot.

    Args:
        model: what is trained, by a trainer.
    """

    def __init__(self, model: "Classifier") -> None:
        self._model, trainer = model, model.trainer
        self._data = cast(TensorData, trainer.datamodule)  # type: ignore[attr-defined]
        optimizer, schedule = model.optimizers(), model.lr_schedulers()
        assert isinstance(optimizer, LightningOptimizer)
        assert not isinstance(schedule, list)
        self._optimizer = optimizer
        self._schedule = cast(LRScheduler, schedule) if not isinstance(schedule, ReduceLROnPlateau) else None
        self._parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        self._progress = trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        precision = trainer.precision_plugin
        self._scaler = getattr(precision, "scaler", None)
        listened_to = any(
            getattr(type(callback), hook) is not getattr(pl.Callback, hook)
            for callback in trainer.callbacks  # type: ignore[attr-defined]
            for hook in _OF_A_STEP
        )
        self._alone = not listened_to and self._scaler is None
        plain = self._alone and type(precision) in (Precision, DoublePrecision) and not torch.is_anomaly_enabled()
        self._backprop = Backprop.of(model.net, model.loss) if plain else None
        self._shared_sum = self._share()
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
        """Find out what the network and the optimizer, as they are now, allow."""
        if self._backprop and not self._backprop.holds:
            self._backprop = None
        self._flat = self._flatten()
        self._graph = self._make_graph()

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
        # Of what a schedule moves, a graph takes the rate alone; one_cycle moves the momentum, too.
        if not (self._backprop and self._flat) or trainer.world_size > 1 or isinstance(self._schedule, OneCycleLR):
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
        if (self._backprop and not self._backprop.holds) or (self._flat and not self._flat.holds):
            self._prepare()
        return self._by_hand(chunk) if self._backprop else self._by_autograd(chunk)

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
            outs.append(out := model.net(x))
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
        if self._schedule is not None:
            self._schedule.step()

    def clip(self) -> None:
        """Clip the gradients, all together, where that is asked for."""
        norm = self._model.gradient_clip_norm
        if norm is None:
            return
        if self._scaler is not None and getattr(self._optimizer.optimizer, "_step_supports_amp_scaling", False):
            self._scaler.unscale_(self._optimizer.optimizer)  # fused optimizers leave this to their own step
        nn.utils.clip_grad_norm_(self._model.parameters(), norm)
