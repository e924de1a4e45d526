"""The fast path of ``Classifier`` and ``Regressor``: one batch of Lightning's loop contains many optimizer steps.

The overhead of Lightning's loop is several times the step of a small network. Here the loop fetches a ``Chunk`` of batches, and
``Steps`` takes a step for each. Weights, checkpoints and metrics equal those of Lightning's loop.
"""

from collections.abc import Callable, Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.optim.lr_scheduler import LRScheduler

from src.data.chunks import Chunk
from src.data.module import TensorData
from src.fast.steps import StepContext, Steps
from src.optim.schedules import interval_of
from src.tasks.base import SupervisedTask
from src.tasks.classification import Classifier
from src.tasks.regression import Regressor

# Hooks called once per batch of Lightning's loop, here a chunk; and hooks called once per step, which the fast path skips.
_BATCH_HOOKS = ("on_train_batch_start", "on_train_batch_end")
_STEP_HOOKS = ("on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step")


def obstacle(
    task: Callable[..., Any], data: pl.LightningDataModule | None, callbacks: Sequence[pl.Callback]
) -> str | None:
    """The reason why a training cannot use the fast path, or None if it can.

    Args:
        task: class of the LightningModule.
        data: must be a ``TensorData``.
        callbacks: must not implement hooks of optimizer steps, and batch hooks only with the attribute ``accepts_chunks = True``,
            in which case the hooks get chunks.
    """
    if task not in CHUNKED:
        return f"{task.__name__} is another task than {' and '.join(known.__name__ for known in CHUNKED)}"
    if not isinstance(data, TensorData):
        return f"{type(data).__name__} is not derived from TensorData"
    for callback in callbacks:
        takes_chunks = getattr(callback, "accepts_chunks", False) or _saves_by_epochs(callback)
        for hook in (*_STEP_HOOKS, *(() if takes_chunks else _BATCH_HOOKS)):
            if _overrides(callback, hook):
                return f"{type(callback).__name__} has the hook {hook}"
    return None


def _overrides(callback: pl.Callback, hook: str) -> bool:
    """Whether a callback implements a hook, in its class or, as ``LambdaCallback`` does, on the instance."""
    return getattr(getattr(callback, hook), "__func__", None) is not getattr(pl.Callback, hook)


def _saves_by_epochs(callback: pl.Callback) -> bool:
    """Whether a callback is Lightning's ModelCheckpoint and saves only at the end of epochs."""
    return type(callback) is ModelCheckpoint and not (callback._every_n_train_steps or callback._train_time_interval)


class Chunked(SupervisedTask):
    """Trains a task on chunks.

    Args:
        seed: seed of dropout, together with epoch, step and rank.
        varies_threads: let each epoch select its number of CPU threads, if results do not depend on it.
        settings: see the task.
    """

    def __init__(self, *, seed: int, varies_threads: bool, **settings: Any) -> None:
        super().__init__(**settings)
        self.automatic_optimization = False
        self._seed, self._varies_threads = seed, varies_threads
        self._steps: Steps | None = None

    def _context(self) -> StepContext:
        trainer = self.trainer
        data: TensorData = trainer.datamodule  # type: ignore[attr-defined]
        [optimizer] = trainer.optimizers
        schedule = self.lr_schedulers()
        if not isinstance(schedule, LRScheduler) or interval_of(schedule) != "step":
            schedule = None  # if there is one, it is stepped at the end of an epoch
        return StepContext(
            task=self,
            net=self.net,
            loss=self.loss,
            optimizer=optimizer,
            schedule=schedule,
            gradient_clip_norm=self.gradient_clip_norm,
            precision=trainer.precision_plugin,
            strategy=trainer.strategy,
            count_step=self._count_step,
            seed=self._seed,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
            num_nodes=trainer.num_nodes,
            steps_per_epoch=data.steps_per_epoch,
            batch_size=data.batch_size,
            steps_per_execution=data.steps_per_execution,
            varies_threads=self._varies_threads,
        )

    def _count_step(self) -> None:
        """Increment ``global_step``, as Lightning does in manual optimization; hooks of the optimizer may read it."""
        progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        progress.increment_ready()
        progress.increment_completed()

    def training_step(self, chunk: Chunk, batch_idx: int) -> dict[str, Any]:  # type: ignore[override]
        """Take one optimizer step for each batch of the chunk.

        Returns:
            ``train/loss`` and the other training metrics, means over the chunk on all ranks, and ``lr``, the learning rate of
            each parameter group at the last step, by name.

        Raises:
            NonFiniteLoss: the loss of a step is NaN or Inf.
        """
        context, first_step = self._context(), self.global_step
        samples, targets = sum(chunk.totals), chunk.labels
        weights = self.loss.sample_weights(targets)
        if weights is not None:
            sums = torch.stack([part.sum() for part in weights.split(chunk.sizes)])
            chunk = chunk._replace(totals=self.sum_over_ranks(sums))  # type: ignore[arg-type]  # the divisors of the summed losses
        self._steps = self._steps or Steps(context)
        losses, outputs = self._steps.take(context, chunk, self.current_epoch)
        counts = self.train_sums(outputs, targets)
        summed = self.sum_over_ranks(losses, *counts.values())
        means, totals = summed[: len(losses)], dict(zip(counts, summed[len(losses) :], strict=True))
        # Lightning counts one batch, and passes this counter to loggers as the step.
        self.trainer.fit_loop.epoch_loop._batches_that_stepped += len(chunk.totals) - 1
        metrics = self.update_train_metrics(
            first_step, means, chunk.totals, totals, samples, reset=chunk.first_step == 0
        )
        rates = {
            "lr" if number == 1 else f"lr/pg{number}": lr for number, lr in enumerate(self._steps.learning_rates, 1)
        }
        return {**metrics, "lr": rates}


class ChunkedClassifier(Chunked, Classifier):
    """``Classifier`` trained on chunks."""


class ChunkedRegressor(Chunked, Regressor):
    """``Regressor`` trained on chunks."""


CHUNKED: dict[Callable[..., Any], type[Chunked]] = {Classifier: ChunkedClassifier, Regressor: ChunkedRegressor}
