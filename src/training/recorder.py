"""The callback that transfers metrics from Lightning to the run's record."""

import math
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn

from src.data.chunks import samples_in
from src.errors import UserError
from src.loggers.csv import OnOptimizerStep
from src.records.record import Record
from src.training.epochs import log_epoch

# Keys of its entry in a checkpoint, and of the configuration there.
KEY, CONFIG = "recorder", "config"


def _logged(trainer: pl.Trainer) -> dict[str, float | None]:
    """The logged metrics; None for non-finite values."""
    values = {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


class RunRecorder(pl.Callback):
    """Writes a run's metrics, its best checkpoint and its speed to run.json while it trains; nothing else writes them.

    It also adds to checkpoints the configuration, from which the model can be rebuilt, and the state that a resumed run needs
    and Lightning omits: the epoch's metrics, whether training was about to stop, and the number of samples trained on and the
    time taken. The speed of a resumed run, like the record's ``duration_s``, therefore covers all its sessions.

    Args:
        directory: the run's directory.
        config: the run's configuration.
        fast: whether the training takes the fast path.
    """

    def __init__(self, directory: Path, config: Mapping[str, Any], fast: bool) -> None:
        self.directory, self.config, self.fast = directory, config, fast
        self.metrics: dict[str, float | None] = {}  # None: not a finite number
        self._written = 0.0
        self._stop_early = False
        self._seconds, self._since = 0.0, 0.0
        self._samples: Counter[str] = Counter()  # by the number of threads
        # The epochs completed at the first start of an epoch in this session, and the time then.
        self._first_start: tuple[int, float] | None = None

    def record(self, trainer: pl.Trainer, **values: Any) -> dict[str, Any]:
        """Write the logged metrics and further entries of the record; return all written entries, on every rank.

        Raises:
            UserError: the metric that selects the best checkpoint has not been logged.
        """
        self.metrics |= _logged(trainer)
        self._check_monitor()
        self._write(trainer, **values)
        return self._results(trainer) | values

    def _record_now(self, trainer: pl.Trainer, metrics: Mapping[str, float]) -> None:
        """Write metrics of the weights that are about to be saved, so that the record states them even if the run is killed."""
        self.metrics |= metrics
        if trainer.is_global_zero:
            Record.load(self.directory).change(lambda run: {"metrics": run["metrics"] | metrics})

    def _check_monitor(self) -> None:
        monitor = self.config["monitor"]
        if monitor is not None and monitor not in self.metrics:
            known = ", ".join(self.metrics) or "nothing"
            raise UserError(
                f"monitor={monitor} is not logged: the task logs {known}; set monitor to one of these, or to null."
            )

    def _write(self, trainer: pl.Trainer, **values: Any) -> None:
        if trainer.is_global_zero:
            progress = self._progress(trainer)
            Record.load(self.directory).update(**self._results(trainer), progress=progress, **values)

    def _progress(self, trainer: pl.Trainer) -> dict[str, Any]:
        """Completed epochs and optimizer steps, and the mean duration of this session's epochs, with validation and checkpoints."""
        completed, limit = trainer.current_epoch, trainer.max_epochs
        seconds = None
        if self._first_start is not None and completed > self._first_start[0]:
            seconds = (time.monotonic() - self._first_start[1]) / (completed - self._first_start[0])
        return {
            "epochs_completed": completed,
            "step": trainer.global_step,
            "max_epochs": limit if limit and limit > 0 else None,
            "seconds_per_epoch": None if seconds is None else round(seconds, 3),
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        }

    def _results(self, trainer: pl.Trainer) -> dict[str, Any]:
        return {
            "metrics": self.metrics,
            "best": self._best(trainer),
            # Over all ranks and sessions, without validation and checkpoints. Steps that a killed session took after its
            # last checkpoint are excluded, samples and time, since they are repeated.
            "samples_per_s": round(self._samples.total() / self._seconds, 1) if self._seconds else 0.0,
            "samples_by_threads": dict(self._samples),
            "fast_path": self.fast,
        }

    def _best(self, trainer: pl.Trainer) -> dict[str, Any]:
        """The best checkpoint so far: value of the monitored metric, epoch, and path below the run's directory."""
        checkpoints = (c for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint))
        callback = next((c for c in checkpoints if c.filename == "best"), None)
        if callback is None or not callback.best_model_path:
            return {"metric": None, "value": None, "epoch": None, "checkpoint": None}
        path = Path(callback.best_model_path)
        score = callback.best_model_score if callback.monitor else None
        value = float(score) if score is not None and math.isfinite(score) else None
        epoch = torch.load(path, map_location="meta", weights_only=True)["epoch"]
        checkpoint = str(path.relative_to(self.directory))
        return {"metric": callback.monitor, "value": value, "epoch": epoch, "checkpoint": checkpoint}

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the state that Lightning omits, and flush the loggers, so that files have every point up to the checkpoint."""
        if trainer.training and trainer._logger_connector._first_loop_iter is None:
            log_epoch(trainer)
        if weight_metrics := getattr(pl_module, "weight_metrics", None):
            self._record_now(trainer, weight_metrics())
        checkpoint[CONFIG] = self.config
        checkpoint[KEY] = {
            "fast": self.fast,
            "metrics": self.metrics | _logged(trainer),
            "should_stop": trainer.should_stop,
            "samples": dict(self._samples),
            "seconds": self._seconds,
        }
        for logger in trainer.loggers:
            if isinstance(logger, OnOptimizerStep):
                logger.before_checkpoint()
            else:
                logger.save()

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Restore the state at the time of the checkpoint."""
        if trainer.state.fn == TrainerFn.FITTING:
            state = checkpoint[KEY]
            self.metrics, self._stop_early = state["metrics"], state["should_stop"]
            self._samples, self._seconds = Counter(state["samples"]), state["seconds"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop a training that was interrupted after it had decided to stop."""
        trainer.should_stop = trainer.should_stop or self._stop_early
        self._since = time.perf_counter()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the metrics of the previous epoch, once its checkpoints are saved; at most once a second."""
        self._first_start = self._first_start or (trainer.current_epoch, time.monotonic())
        if trainer.current_epoch:
            self.metrics |= _logged(trainer)
            if trainer.fit_loop.epoch_loop.val_loop._has_run or not trainer.enable_validation:
                self._check_monitor()
            if time.monotonic() - self._written > 1:
                self._write(trainer)
                self._written = time.monotonic()
        self._since = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: Any, batch_idx: int
    ) -> None:
        """Count the samples and the time since the previous batch."""
        now = time.perf_counter()
        self._seconds, self._since = self._seconds + now - self._since, now
        samples = samples_in(batch, batch_idx, trainer)
        self._samples[str(torch.get_num_threads())] += samples  # the number at the end of the batch

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Exclude validation from the training time."""
        self._since = time.perf_counter()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Write the last recorded metrics; those in progress are omitted, since reducing them needs the other ranks."""
        self._write(trainer)
