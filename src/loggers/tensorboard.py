"""TensorBoard logger: curves by optimizer step, the configuration as text, and the HParams tab."""

import json
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import writer
from torch.utils.tensorboard.summary import custom_scalars, image, text

from src.formatting import figure
from src.loggers.csv import OnOptimizerStep, Status
from src.loggers.event_files import EVENTS, OrderedEventFileWriter, write_events
from src.loggers.hparams import END_SUFFIX, START_SUFFIX, session_end, session_start
from src.records.git import PATCH
from src.records.record import Record
from src.records.summary import Summary as RunSummary
from src.records.summary import environment_of, summary

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# Summaries that a resumed run may have to replace are in separate event files: of several starts and ends of a session
# TensorBoard uses the first that it reads, and a test may be repeated.
_TEST_SUFFIX = ".test"
# Layout of the Custom Scalars tab; tags are regular expressions.
_LAYOUT = {
    "training against validation": {
        "loss": ["Multiline", ["^train/loss$", "^val/loss$"]],
        "accuracy": ["Multiline", ["^train/acc$", "^val/acc$"]],
    },
    "within the epochs": {
        "loss": ["Multiline", ["^train/loss_step$"]],
        "learning rate": ["Multiline", ["^lr(/pg[0-9]+)?$"]],
        "gradient norm": ["Multiline", ["^gradient_norm$"]],
    },
    "the machine": {
        "samples a second": ["Multiline", ["^samples_per_s$"]],
        "busy, in percent": ["Multiline", ["^system/.*_percent$"]],
        "memory, in MB": ["Multiline", ["^system/.*_mb$"]],
    },
}
# torch's SummaryWriter, which Lightning's logger uses, looks up the class of its event file writer in its module.
writer.EventFileWriter = OrderedEventFileWriter  # type: ignore[attr-defined]
# Characters that would end a table cell or the code in it.
_IN_A_CELL = str.maketrans({"|": "\u2223", "`": "'", "\n": " "})


class TensorBoard(OnOptimizerStep, TensorBoardLogger):
    """Writes event files to the run's directory.

    Args:
        directory: the run's directory.
        resumed_at: the optimizer step from which a run resumes; TensorBoard drops later points of earlier files.
    """

    def __init__(self, *, directory: str, resumed_at: int | None = None) -> None:
        # Also set in the first session: TensorBoard does not treat the first start as a restart, and drops nothing.
        purge_step = (resumed_at or 0) + 1
        super().__init__(save_dir=directory, name="", version="", default_hp_metric=False, purge_step=purge_step)

    @rank_zero_only
    def open_session(self, config: Mapping[str, Any], trainer: pl.Trainer) -> None:
        """Write the configuration as text and as hyperparameters, and use the trainer's step.

        Lightning would write a placeholder metric, and the status success before the run has started.
        """
        super().open_session(config, trainer)
        directory = Path(self.log_dir)
        texts = [text("config", _fenced("json", json.dumps(config, indent=2)))]
        record = Record.load(directory)
        texts.append(text("environment", _environment(record)))
        if (patch := directory / PATCH).exists():
            texts.append(text("patch", _fenced("diff", patch.read_text(errors="replace"))))
        _remove(directory, END_SUFFIX)
        _replace(directory, START_SUFFIX, custom_scalars(_LAYOUT), *texts, session_start(record))

    @rank_zero_only
    def save(self) -> None:
        """Flush the event file; the configuration is in the record, not in Lightning's hparams.yaml."""
        self.experiment.flush()

    @rank_zero_only
    def begin_test(self) -> None:
        """Continue in a separate file for the test."""
        self.experiment.close()
        self._experiment = None
        self._kwargs = {"filename_suffix": _TEST_SUFFIX}
        _remove(Path(self.log_dir), _TEST_SUFFIX)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Flush the event file, but keep it open: Lightning calls this after the training and again after the test."""
        self.save()

    @rank_zero_only
    def close(self, status: Status) -> None:
        """Close the event file; ``close_session`` writes the final status once it is in the record."""
        self.experiment.close()


def close_session(record: Record) -> None:
    """Write the end of a run: its status, the best value as a scalar and the result as text. Replaces an earlier end."""
    run = summary(record)
    _replace(record.directory, END_SUFFIX, *session_end(run), text("result", _result(run)))


def add_pictures(record: Record, kind: str, pictures: "Mapping[str, npt.NDArray[np.uint8]]") -> bool:
    """Add images (height, width, 3) by their tags to a finished run, replacing all earlier ones of that kind.

    They are written to a separate event file, so that resuming the run loses nothing.

    Returns:
        Whether the run was trained with TensorBoard; without, nothing is written.

    Raises:
        OSError: the run's directory cannot be written.
    """
    if not any(record.directory.glob(f"{EVENTS}{START_SUFFIX}")):
        return False
    with tempfile.NamedTemporaryFile(dir=record.directory):
        pass  # checks that the directory is writable, since errors in the writer's thread print a traceback
    images = (image(tag, pixels, dataformats="HWC") for tag, pixels in pictures.items())
    _replace(record.directory, f".{kind}", *images)
    return True


def _replace(directory: Path, suffix: str, *summaries: Summary) -> None:
    """Write summaries to a separate event file, replacing those with the same suffix."""
    _remove(directory, suffix)
    write_events(directory, suffix, *summaries)


def _remove(directory: Path, suffix: str) -> None:
    for earlier in directory.glob(f"{EVENTS}{suffix}"):
        earlier.unlink()


def _fenced(language: str, content: str) -> str:
    """Format a text as a Markdown code block, with a fence longer than any in the text."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", content)), default=0))
    return f"{fence}{language}\n{content}\n{fence}"


def _listed(rows: Iterable[tuple[str, Any]]) -> str:
    """A Markdown table of two columns; values are formatted as code, so that markup in them is not interpreted."""
    cells = (f"| {name} | `{str(value).translate(_IN_A_CELL)}` |" for name, value in rows)
    return "\n".join(["| | |", "| --- | --- |", *cells])


def _environment(record: Record) -> str:
    run = summary(record)
    return _listed({"command": run.command, "code": run.code, **environment_of(record)}.items())


def _result(run: RunSummary) -> str:
    rows = {"status": run.ended, "error": run.error, "duration_s": run.duration}
    metrics = {name: "NaN or Inf" if value is None else figure(value) for name, value in run.metrics.items()}
    rows |= metrics | run.best_line
    return _listed([(name, value) for name, value in rows.items() if value is not None])
