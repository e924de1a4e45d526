"""Progress bar in optimizer steps, and a line with the metrics after each epoch, within 80 columns."""

import logging
import math
import time
from collections.abc import Mapping
from itertools import groupby
from typing import Any, ClassVar

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar
from torch import Tensor

from src.callbacks.curves import epoch_metrics
from src.data.chunks import ChunkLoader, as_chunk
from src.formatting import duration, figure

log = logging.getLogger(__name__)

# Maximum number of epochs with a line each; longer trainings print fewer lines.
_LINES = 50
# Metrics in the line of an epoch; if the task logs none of them, all its metrics.
_FIRST = ("train/loss", "train/acc", "val/loss", "val/acc")
_COLUMNS = 80


def epoch_line(epoch: int, epochs: int, metrics: Mapping[str, float], seconds: float) -> str:
    """The line of an epoch, with as many of the metrics as fit into 80 columns, at least one.

    Args:
        epoch: number of the epoch, from 1.
        epochs: number of epochs.
        metrics: the metrics in their order. Those of a stage are written together: ``train loss 0.0570 acc 0.9813``.
        seconds: duration of the epoch.
    """
    head, end = f"epoch {epoch:>{len(str(epochs))}}/{epochs}", f"{seconds:.1f} s"
    names = list(metrics)
    while True:
        line = "  ".join([head, *_grouped({name: metrics[name] for name in names}), end])
        if len(line) <= _COLUMNS or len(names) <= 1:
            return line
        names.pop()


def _grouped(metrics: Mapping[str, float]) -> list[str]:
    """Names and values of metrics, for each stage that precedes a slash."""
    stages = groupby(metrics.items(), key=lambda item: item[0].rpartition("/")[0])
    groups = [(stage, [f"{name.rpartition('/')[2]} {figure(value)}" for name, value in some]) for stage, some in stages]
    return [" ".join([stage, *values] if stage else values) for stage, values in groups]


class Progress(ProgressBar):
    """Progress bar on a terminal, and a line per epoch on the terminal and in the log; on rank 0 only.

    Lightning's progress bars would count chunks; this one counts optimizer steps.
    """

    accepts_chunks: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.console = Console()
        self._enabled = True
        self._bar: Bar | None = None
        self._started: float | None = None  # None outside an epoch
        self._first: tuple[float, float] | None = None  # time and position, in epochs, at which this session began

    def enable(self) -> None:
        """Show the bar."""
        self._enabled = True

    def disable(self) -> None:
        """Disable the bar; Lightning calls this on every rank except 0."""
        self._enabled = False

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Open the epoch's bar; Lightning does not call ``on_train_epoch_start`` when a run is resumed within an epoch."""
        if self._started is None:
            self._open(trainer, batch_idx)

    def _open(self, trainer: pl.Trainer, batch_idx: int) -> None:
        self._started = time.perf_counter()
        self._first = self._first or (self._started, _position(trainer, batch_idx))
        if not (self._enabled and self.console.is_terminal):
            return
        self._bar = Bar(
            TextColumn(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"),
            BarColumn(bar_width=12),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            console=self.console,
            # Refreshed from the training loop, so that no second thread competes with a small network for the cores.
            auto_refresh=False,
            transient=True,
        )
        loader, batches = trainer.train_dataloader, trainer.num_training_batches
        steps = loader.steps if isinstance(loader, ChunkLoader) else None if batches == math.inf else int(batches)
        self._task = self._bar.add_task("", total=steps)
        self._bar.start()
        self._drawn = self._started

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Tensor | Mapping[str, Any] | None,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Update the bar, at most ten times a second."""
        now = time.perf_counter()
        if self._bar is None or now - self._drawn < 0.1:
            return
        self._drawn = now
        found: Mapping[str, Any] = outputs if isinstance(outputs, Mapping) else {"loss": outputs}
        values = {name: found[name] for name in ("train/loss", "train/acc") if name in found} or {
            **({"loss": found["loss"]} if isinstance(found.get("loss"), Tensor) else {}),
            **trainer.progress_bar_metrics,
        }
        text = "  ".join(_grouped({name: float(value) for name, value in values.items()}))
        if left := self._left(trainer, now, batch_idx + 1):
            text = f"{left} left  {text}"
        loader = trainer.train_dataloader
        chunk = as_chunk(batch, batch_idx, loader) if isinstance(loader, ChunkLoader) else None
        completed = chunk.first_step + len(chunk.totals) if chunk else batch_idx + 1
        self._bar.update(self._task, completed=completed, description=text, refresh=True)

    def _left(self, trainer: pl.Trainer, now: float, batches: int) -> str:
        """The estimated time until the last epoch ends, at the pace of this session; empty if there is no last epoch."""
        epochs, position = trainer.max_epochs, _position(trainer, batches)
        if self._first is None or epochs is None or epochs < 0 or position <= self._first[1]:
            return ""
        began, first = self._first
        return duration((now - began) / (position - first) * max(0.0, epochs - position))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Replace the bar with the epoch's line."""
        if self._started is None:  # the epoch was complete when the run was interrupted
            return
        seconds = time.perf_counter() - self._started
        self._close()
        epoch, epochs = trainer.current_epoch + 1, trainer.max_epochs or 1
        if self._enabled and (epoch % math.ceil(epochs / _LINES) == 0 or epoch == epochs):
            values = epoch_metrics(trainer, pl_module)
            names = [name for name in _FIRST if name in values] or [
                name for name in values if not name.endswith("_step")
            ]
            log.info("%s", epoch_line(epoch, epochs, {name: values[name] for name in names}, seconds))

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Close the bar."""
        self._close()

    def _close(self) -> None:
        self._started = None
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _position(trainer: pl.Trainer, batches: int) -> float:
    """Epochs completed, with the fraction of the current one after this many batches; without it if its length is unknown."""
    of_epoch = batches / trainer.num_training_batches if trainer.num_training_batches else 0.0
    return trainer.current_epoch + of_epoch
