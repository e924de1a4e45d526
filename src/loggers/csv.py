"""Base class of the loggers, and the CSV logger."""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.utilities import rank_zero_only

from src.errors import Interrupted
from src.files import replacing
from src.launching.stop import received

# Final status of a training, as in the record.
Status = Literal["done", "failed", "interrupted"]


class OnOptimizerStep:
    """Mixin that logs every point at the current optimizer step; by default Lightning counts chunks.

    It must precede one of Lightning's loggers in the list of base classes. ``open_session`` is called once before the training,
    ``begin_test`` between training and test, and ``close`` at the end. A logger is built with ``resumed_at``, the optimizer step
    at which a run resumes, or None: points that an earlier session wrote after this step must be dropped.
    """

    trainer: pl.Trainer | None = None

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Write scalars at the trainer's optimizer step, without the epoch that Lightning adds to each point."""
        scalars = {name: value for name, value in metrics.items() if name != "epoch"}
        self.log_scalars(scalars, self.trainer.global_step if self.trainer is not None else step)

    def log_scalars(self, scalars: Mapping[str, Any], step: int | None) -> None:
        """Write scalars at an optimizer step."""
        super().log_metrics(scalars, step)  # type: ignore[misc]

    @rank_zero_only
    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """No-op: the configuration is in the record, of which Lightning would write only the task's hyperparameters."""

    @rank_zero_only
    def open_session(self, config: Mapping[str, Any], trainer: pl.Trainer) -> None:
        """Start a session of a run, and use the trainer's step."""
        self.trainer = trainer

    @rank_zero_only
    def before_checkpoint(self) -> None:
        """Write all pending points: a run resumed from the checkpoint logs only later ones."""
        self.save()  # type: ignore[attr-defined]

    @rank_zero_only
    def begin_test(self) -> None:
        """Start the test, whose points a resumed run may replace."""

    @rank_zero_only
    def close(self, status: Status) -> None:
        """Write all pending points and the final status."""
        self.save()  # type: ignore[attr-defined]

    @classmethod
    def check(cls, settings: Mapping[str, Any], prefix: str) -> None:
        """Check the configured settings before a run starts, beyond their types.

        Args:
            settings: the configured settings.
            prefix: dotted key of the settings.

        Raises:
            ConfigError: the logger cannot log with these settings.
        """


class CSV(OnOptimizerStep, CSVLogger):
    """Writes ``metrics.csv`` to the run's directory, with a row for each step at which a point was logged.

    Args:
        directory: the run's directory.
        resumed_at: the optimizer step from which a run resumes; rows after it are dropped.
    """

    def __init__(self, *, directory: str, resumed_at: int | None = None) -> None:
        super().__init__(save_dir=directory, name="", version="")
        self.resumed_at = resumed_at

    @rank_zero_only
    def open_session(self, config: Mapping[str, Any], trainer: pl.Trainer) -> None:
        """Keep the rows of earlier sessions up to the checkpoint."""
        super().open_session(config, trainer)
        self._experiment = _Rows(self.log_dir)
        if self.resumed_at is not None:
            self._experiment.keep(self.resumed_at)

    @rank_zero_only
    def save(self) -> None:
        """Write the rows, but no hparams.yaml, since the configuration is in the record."""
        self.experiment.save()


class _Rows(ExperimentWriter):
    """Lightning's writer, changed to keep an existing file, and to lose no rows or columns when interrupted."""

    def __init__(self, log_dir: str) -> None:
        super().__init__(log_dir)
        self._header: list[str] = []  # columns of the file

    def _check_log_dir_exists(self) -> None:
        pass

    def keep(self, last_step: int) -> None:
        """Drop rows after a step, rows of the test, and an incomplete last row."""
        path = Path(self.metrics_file_path)
        if not path.exists():
            return
        text = path.read_text()
        table = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1]))
        rows = [{name: row[name] for name in row if not re.match("test[/_]", name)} for row in table]
        rows = [
            row for row in rows if int(row["step"]) <= last_step and any(row[name] for name in row if name != "step")
        ]
        self.metrics_keys = sorted({name for row in rows for name in row})
        self._write(rows)

    def save(self) -> None:
        """Append the rows; rewrite the file if they add columns."""
        if not self.metrics:
            return
        self._record_new_keys()
        path = Path(self.metrics_file_path)
        if self._header == self.metrics_keys:
            with path.open("a", newline="") as file:
                csv.DictWriter(file, self.metrics_keys).writerows(self.metrics)
        else:
            earlier = []
            if path.exists():
                with path.open(newline="") as file:
                    earlier = list(csv.DictReader(file))
            self._write([*earlier, *self.metrics])
        self.metrics = []

    def _write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        with replacing(Path(self.metrics_file_path)) as file:
            text = io.TextIOWrapper(file, newline="")
            writer = csv.DictWriter(text, self.metrics_keys)
            writer.writeheader()
            writer.writerows(rows)
            text.detach()
        self._header = list(self.metrics_keys)


@contextmanager
def session(loggers: Sequence[OnOptimizerStep], config: Mapping[str, Any], trainer: pl.Trainer) -> Iterator[None]:
    """Context that opens loggers for a training, and closes them with its final status."""
    status: Status = "failed"
    opened: list[OnOptimizerStep] = []
    try:
        for logger in loggers:
            logger.open_session(config, trainer)
            opened.append(logger)
        yield
        status = "done"
    except Interrupted:
        status = "interrupted"
        raise
    finally:
        for logger in opened:
            logger.close("interrupted" if received() else status)
