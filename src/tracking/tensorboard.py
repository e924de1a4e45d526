"""TensorBoard: curves by optimizer step, the configuration as text, and an HParams tab that tells the truth."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from torch.utils.tensorboard.summary import text

from src.tracking.loggers import OnOptimizerStep

# What a resumed run must be able to take back lies in event files of its own, which are replaced: of a session's
# beginning and end TensorBoard believes the first it reads, and a test may be done again.
_START_SUFFIX, _END_SUFFIX, _TEST_SUFFIX = ".session-start", ".session-end", ".test"
_STATUS = {"done": api_pb2.STATUS_SUCCESS, "failed": api_pb2.STATUS_FAILURE, "interrupted": api_pb2.STATUS_FAILURE}
# What distinguishes runs without being a hyper-parameter.
_NOT_HPARAMS = ("name", "tags", "callbacks", "logger", "monitor", "mode", "data.dir")


class TensorBoard(OnOptimizerStep, TensorBoardLogger):
    """Writes a run's event files into the run's directory itself.

    Args:
        directory: the run's directory.
        resumed_at: the optimizer step at which a run goes on; TensorBoard forgets earlier files' points after it.
    """

    def __init__(self, *, directory: str, resumed_at: int | None = None) -> None:
        purge_step = None if resumed_at is None else resumed_at + 1
        super().__init__(save_dir=directory, name="", version="", default_hp_metric=False, purge_step=purge_step)

    @rank_zero_only
    def open_session(self, config: Mapping[str, Any], trainer: pl.Trainer) -> None:
        """Write the configuration, as text and as the hyper-parameters of this run, and follow the trainer's steps.

        Lightning's own way would write a placeholder metric, and a success before the run has begun.
        """
        super().open_session(config, trainer)
        _replace(Path(self.log_dir), _START_SUFFIX, _as_text(config), _session_start(config))

    @rank_zero_only
    def save(self) -> None:
        """Flush the event file; the configuration is in the record, not in Lightning's hparams.yaml."""
        self.experiment.flush()

    @rank_zero_only
    def begin_test(self) -> None:
        """Go on in a file of the test's own."""
        self.close()
        self._experiment = None
        self._kwargs = {"filename_suffix": _TEST_SUFFIX}
        _remove(Path(self.log_dir), _TEST_SUFFIX)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Flush; the file stays open, because Lightning says this after the training and again after the test."""
        self.save()

    @rank_zero_only
    def close(self) -> None:
        """Close the event file."""
        self.experiment.close()


def close_session(directory: Path, status: str) -> None:
    """Write how a run ended (done, failed or interrupted), replacing an earlier end."""
    end = plugin_data_pb2.SessionEndInfo(status=_STATUS[status], end_time_secs=time.time())
    content = plugin_data_pb2.HParamsPluginData(session_end_info=end)
    _replace(directory, _END_SUFFIX, _summary(metadata.SESSION_END_INFO_TAG, content))


def _replace(directory: Path, suffix: str, *summaries: Summary) -> None:
    """Write summaries into an event file of their own, in place of those with the same suffix."""
    _remove(directory, suffix)
    writer = EventFileWriter(str(directory), filename_suffix=suffix)
    for summary in summaries:
        writer.add_event(Event(wall_time=time.time(), step=0, summary=summary))
    writer.close()


def _remove(directory: Path, suffix: str) -> None:
    for earlier in directory.glob(f"events.out.tfevents.*{suffix}"):
        earlier.unlink()


def _as_text(config: Mapping[str, Any]) -> Summary:
    return text("config", f"```json\n{json.dumps(config, indent=2)}\n```")


def hparams(config: Mapping[str, Any], prefix: str = "") -> dict[str, bool | float | str]:
    """The settings as TensorBoard can hold them: dotted names to booleans, numbers and words.

    A setting that is null is left out, since a word among numbers would turn its whole column into words.
    """
    flat: dict[str, bool | float | str] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if name in _NOT_HPARAMS or value is None:
            continue
        if isinstance(value, Mapping):
            flat |= hparams(value, f"{name}.")
        elif isinstance(value, bool | str):
            flat[name.replace("._target_", "")] = value
        elif isinstance(value, int | float):
            flat[name] = float(value)
        else:
            flat[name] = json.dumps(value)
    return flat


def _session_start(config: Mapping[str, Any]) -> Summary:
    start = plugin_data_pb2.SessionStartInfo(start_time_secs=time.time())
    for name, value in hparams(config).items():
        if isinstance(value, bool):
            start.hparams[name].bool_value = value
        elif isinstance(value, str):
            start.hparams[name].string_value = value
        else:
            start.hparams[name].number_value = value
    return _summary(metadata.SESSION_START_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_start_info=start))


def _summary(tag: str, content: plugin_data_pb2.HParamsPluginData) -> Summary:
    content.version = metadata.PLUGIN_DATA_VERSION
    summary = Summary()
    summary.value.add(tag=tag, metadata=metadata.create_summary_metadata(content), tensor=metadata.NULL_TENSOR)
    return summary
