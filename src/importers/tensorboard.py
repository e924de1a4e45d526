"""Runs of TensorBoard: directories with event files."""

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.util.tensor_util import make_ndarray

from src.errors import DataError
from src.importers.settings import read_yaml, typed
from src.importers.source import Curves, SourceRun
from src.loggers.event_files import EVENTS, in_order, read
from src.records.settings import flatten

# Written by Lightning's TensorBoardLogger next to the event files.
_HPARAMS = "hparams.yaml"
# Name of the folder that SummaryWriter.add_hparams makes in the one of its run: the time in seconds.
_SESSION = re.compile(r"\d{9,11}(\.\d+)?")
# Lightning logs a metric of this name and value to have a column in the HParams tab.
_PLACEHOLDER = ("hp_metric", -1.0)


def session_folder(directory: Path, names: Sequence[str]) -> str | None:
    """The folder in which ``SummaryWriter.add_hparams`` has written the settings of a directory's run.

    None if there are several, as of a writer that is shared by the trials of a search: each is a run then.
    """
    found = [name for name in names if _SESSION.fullmatch(name) and any((directory / name).glob(EVENTS))]
    return found[0] if len(found) == 1 else None


def read_directories(directory: Path, *sessions: Path) -> Iterator[SourceRun | DataError]:
    """The run of a directory with event files.

    Args:
        directory: contains the event files.
        sessions: directories with further event files of the run.
    """
    content = _Content()
    path = directory
    try:
        for folder in (directory, *sessions):
            for path in folder.glob(EVENTS):
                if path.is_symlink() or not path.is_file():
                    raise DataError("not a regular file")
            for path in in_order(folder).values():
                content.first = content.first or path.name
                for event in read(path):
                    content.add(event)
    except (DataError, DecodeError, ValueError, OverflowError, OSError) as error:
        yield DataError(f"{path} cannot be read ({error}).")
        return
    try:
        if (directory / _HPARAMS).exists():  # has the types that event files have lost
            content.params |= flatten(read_yaml(directory / _HPARAMS))
    except DataError as error:
        yield error
    if [point.value for point in content.curves.get(_PLACEHOLDER[0], [])] == [_PLACEHOLDER[1]]:
        del content.curves[_PLACEHOLDER[0]]
    if not (content.curves or content.params):
        yield DataError(f"{directory} has no complete event with a scalar or settings.")
        return
    yield SourceRun(
        kind="tensorboard",
        store=directory.parent,
        experiment=directory.parent.name,
        id=directory.name,
        # The name of an event file has the second, the host, and the process that began it.
        key=f"tensorboard {content.first} {directory.name} {content.began!r}",
        name=directory.name,
        status=content.status,
        started=content.started,
        ended=None,
        params=content.params,
        curves=content.curves,
    )


class _Content:
    """What the events of a run contain. As in TensorBoard, a session that starts at a step replaces later points."""

    def __init__(self) -> None:
        self.params: dict[str, Any] = {}
        self.curves = Curves()
        self.status = "done"  # event files have no status, unless HParams has one
        self.first = ""  # name of the first file
        self.began: float | None = None  # time of the first event
        self._scalars: set[str] = set()  # tags whose tensors are scalars, which only their first event states

    @property
    def started(self) -> float:
        """Time of the first event or point, in seconds since 1970."""
        times = [self.began or 0.0, *(points[0].wall_time for points in self.curves.values())]
        return min((time for time in times if time > 0), default=0.0)

    def add(self, event: Event) -> None:
        if self.began is None:
            self.began = float(event.wall_time)
        if event.session_log.status == SessionLog.START:
            for tag, points in list(self.curves.items()):
                points[:] = [point for point in points if point.step < event.step]
                if not points:
                    del self.curves[tag]
        for value in event.summary.value:
            plugin = value.metadata.plugin_data
            if plugin.plugin_name == metadata.PLUGIN_NAME:
                self._add_settings(value.tag, plugin.content)
            elif (number := self._number(value)) is not None:
                self.curves.add(value.tag, event.step, event.wall_time, number)

    def _number(self, value: Summary.Value) -> float | None:
        if value.HasField("simple_value"):
            return float(value.simple_value)
        if value.metadata.plugin_data.plugin_name == "scalars":
            self._scalars.add(value.tag)
        if not value.HasField("tensor") or value.tag not in self._scalars:
            return None
        array = make_ndarray(value.tensor)
        return float(array.reshape(())) if array.size == 1 else None

    def _add_settings(self, tag: str, content: bytes) -> None:
        data = plugin_data_pb2.HParamsPluginData.FromString(content)
        if tag == metadata.SESSION_START_INFO_TAG:
            for name, value in data.session_start_info.hparams.items():
                kind = value.WhichOneof("kind")
                if kind in ("number_value", "string_value", "bool_value"):
                    self.params[name.replace("/", ".")] = _plain(getattr(value, kind))
        elif tag == metadata.SESSION_END_INFO_TAG and data.session_end_info.status == api_pb2.STATUS_FAILURE:
            self.status = "failed"


def _plain(value: bool | float | str) -> Any:
    """A hyperparameter, whose numbers are all floats, as the value it was."""
    if isinstance(value, str):
        return typed(value)
    if isinstance(value, bool) or not math.isfinite(value):
        return value if isinstance(value, bool) else str(value)
    return int(value) if value.is_integer() and abs(value) < 1 << 53 else value
