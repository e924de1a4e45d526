"""Summaries for TensorBoard's HParams tab. Imports no torch."""

import json
import time

from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

from src.records.record import Record
from src.records.settings import settings_of
from src.records.summary import Summary as RunSummary

# Suffixes of the event files with the start and the end of a session.
START_SUFFIX, END_SUFFIX = ".session-start", ".session-end"
_STATUS = {
    "done": api_pb2.STATUS_SUCCESS,
    "pruned": api_pb2.STATUS_SUCCESS,
    "failed": api_pb2.STATUS_FAILURE,
    "interrupted": api_pb2.STATUS_FAILURE,
}
# Settings that do not affect the training.
_NOT_HPARAMS = ("logger", "monitor", "mode")
Value = bool | float | str


def hparams(record: Record) -> dict[str, Value]:
    """The hyperparameters of a run: dotted names to booleans, numbers and strings; for a group the chosen option, ``adam``.

    Settings that are null are omitted, since a string among numbers would make the whole column one of strings.
    """
    flat: dict[str, Value] = {}
    for key, value in settings_of(record).items():
        if key.partition(".")[0] in _NOT_HPARAMS or value is None:
            continue
        if isinstance(value, bool | str):
            flat[key] = value
        else:
            flat[key] = float(value) if isinstance(value, int | float) else json.dumps(value)
    return flat


def session_start(record: Record, group: str = "") -> Summary:
    """Summary of the start of a run with its settings; runs of the same ``group`` share a row."""
    start = plugin_data_pb2.SessionStartInfo(start_time_secs=record.started.timestamp(), group_name=group)
    for name, value in hparams(record).items():
        if isinstance(value, bool):
            start.hparams[name].bool_value = value
        elif isinstance(value, str):
            start.hparams[name].string_value = value
        else:
            start.hparams[name].number_value = value
    return _summary(metadata.SESSION_START_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_start_info=start))


def session_end(run: RunSummary) -> list[Summary]:
    """Summaries of the end of a run: its status, and ``best/<monitor>`` as a scalar."""
    end = plugin_data_pb2.SessionEndInfo(status=_STATUS[run.status], end_time_secs=time.time())
    ended = _summary(metadata.SESSION_END_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_end_info=end))
    if run.best is None:
        return [ended]
    return [ended, Summary(value=[Summary.Value(tag=f"best/{run.monitor}", simple_value=run.best)])]


def _summary(tag: str, content: plugin_data_pb2.HParamsPluginData) -> Summary:
    content.version = metadata.PLUGIN_DATA_VERSION
    summary = Summary()
    summary.value.add(tag=tag, metadata=metadata.create_summary_metadata(content), tensor=metadata.NULL_TENSOR)
    return summary
