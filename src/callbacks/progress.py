"""The progress bar: one line an epoch, in optimizer steps, with loss and accuracy."""

import logging
import math
import time
from typing import Any, ClassVar, cast

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from src.data.chunks import ChunkLoader, as_chunk
from src.tasks.classification import Classifier

log = logging.getLogger(__name__)

# A training of a thousand epochs does not need a thousand lines.
_LINES = 50


class Progress(ProgressBar):
    """A bar on a terminal, and a line an epoch, there and in the log; on rank 0 only.

    A progress bar of Lightning's would count chunks; this one counts optimizer steps.
    """

    accepts_chunks: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.console = Console()
        self._enabled = True
        self._bar: Bar | None = None
        self._started: float | None = None  # while an epoch runs

    def enable(self) -> None:
        """Show the bar."""
        self._enabled = True

    def disable(self) -> None:
        """Show nothing; Lightning calls this on every rank but the first."""
        self._enabled = False

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Open the epoch's bar; Lightning does not announce the start of an epoch within which a run is resumed."""
        if self._started is None:
            self._open(trainer)

    def _open(self, trainer: pl.Trainer) -> None:
        self._started = time.perf_counter()
        if not (self._enabled and self.console.is_terminal):
            return
        self._bar = Bar(
            TextColumn(f"epoch {trainer.current_epoch + 1:>3}/{trainer.max_epochs}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("steps"),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
            console=self.console,
            # Drawn from the training loop, so that no second thread competes with a small network for the cores.
            auto_refresh=False,
            transient=True,
        )
        self._task = self._bar.add_task("", total=cast(ChunkLoader, trainer.train_dataloader).steps)
        self._bar.start()
        self._drawn = self._started

    def on_train_batch_end(  # type: ignore[override]
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: dict[str, float],
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Move the bar, ten times a second at most."""
        now = time.perf_counter()
        if self._bar is None or now - self._drawn < 0.1:
            return
        self._drawn = now
        text = f"train/loss {outputs['train/loss']:.4f}  train/acc {outputs['train/acc']:.4f}"
        chunk = as_chunk(batch, batch_idx, cast(ChunkLoader, trainer.train_dataloader))
        self._bar.update(self._task, completed=chunk.first_step + len(chunk.totals), description=text, refresh=True)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Classifier) -> None:  # type: ignore[override]
        """Replace the bar by the epoch's line."""
        if self._started is None:  # the epoch was over when the run was cut off
            return
        seconds = time.perf_counter() - self._started
        self._close()
        epoch, epochs = trainer.current_epoch + 1, trainer.max_epochs or 1
        if self._enabled and (epoch % math.ceil(epochs / _LINES) == 0 or epoch == epochs):
            values = {**trainer.callback_metrics, "train/loss": pl_module.train_loss.compute()}
            values["train/acc"] = pl_module.train_acc.compute()
            shown = [
                f"{n} {float(values[n]):.4f}" for n in ("train/loss", "train/acc", "val/loss", "val/acc") if n in values
            ]
            log.info("epoch %3d/%d  %s  %.1f s", epoch, epochs, "  ".join(shown), seconds)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Give the terminal back."""
        self._close()

    def _close(self) -> None:
        self._started = None
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
