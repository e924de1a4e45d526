"""Summaries for TensorBoard's HParams tab. Imports no torch."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.plugins.hparams.summary_v2 import Discrete, HParam, Metric, RealInterval, hparams_config_pb

from src.records.settings import differing_names, flatten
from src.records.summary import Summary as RunSummary

# Suffixes of the event files with the start and the end of a session.
START_SUFFIX, END_SUFFIX = ".session-start", ".session-end"
_STATUS = {
    "done": api_pb2.STATUS_SUCCESS,
    "pruned": api_pb2.STATUS_SUCCESS,
    "failed": api_pb2.STATUS_FAILURE,
    "interrupted": api_pb2.STATUS_FAILURE,
}
# Settings that identify a run and are not hyperparameters.
_NOT_HPARAMS = ("name", "tags", "logger", "monitor", "mode")
Value = bool | float | str


def hparams(config: Mapping[str, Any]) -> dict[str, Value]:
    """Convert a configuration to hyperparameters: dotted names to booleans, numbers and strings.

    Settings that are null are omitted, since a string among numbers would make the whole column one of strings.
    """
    flat: dict[str, Value] = {}
    for key, value in flatten({key: value for key, value in config.items() if key not in _NOT_HPARAMS}).items():
        if isinstance(value, bool | str):
            flat[key.removesuffix("._target_")] = value
        elif value is not None:
            flat[key] = float(value) if isinstance(value, int | float) else json.dumps(value)
    flat.pop("data.dir", None)  # a property of the machine
    return flat


def session_start(config: Mapping[str, Any], group: str = "") -> Summary:
    """Summary of the start of a run with its settings; runs of the same ``group`` share a row."""
    start = plugin_data_pb2.SessionStartInfo(start_time_secs=time.time(), group_name=group)
    for name, value in hparams(config).items():
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


def columns(settings: Sequence[Mapping[str, Value]], metrics: Sequence[str]) -> Summary:
    """Summary of the columns of the table: the settings in which runs differ, then the metrics.

    Args:
        settings: result of ``hparams`` for each run.
        metrics: tags of scalars.
    """
    varied = {
        name: list(dict.fromkeys(one[name] for one in settings if name in one)) for name in differing_names(settings)
    }
    return hparams_config_pb(
        hparams=[HParam(name, _domain(found)) for name, found in varied.items()],
        metrics=[Metric(name, display_name=name) for name in metrics],
        time_created_secs=0.0,
    )


def _domain(values: Sequence[Value]) -> Discrete | RealInterval | None:
    """Domain for the tab's filters: discrete for strings, an interval for numbers, None for mixed types."""
    if all(isinstance(value, float) for value in values):
        return RealInterval(min(values), max(values))
    kinds = {type(value) for value in values}
    return Discrete(values) if len(kinds) == 1 else None


def _summary(tag: str, content: plugin_data_pb2.HParamsPluginData) -> Summary:
    content.version = metadata.PLUGIN_DATA_VERSION
    summary = Summary()
    summary.value.add(tag=tag, metadata=metadata.create_summary_metadata(content), tensor=metadata.NULL_TENSOR)
    return summary
