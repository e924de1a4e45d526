"""Writing runs of other programs as records of this project, with their curves in an event file."""

import hashlib
import math
import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from src.errors import DataError
from src.files import replacing
from src.importers.settings import nested
from src.importers.source import SourceRun
from src.loggers.event_files import PREFIX
from src.masking import mask_settings, masked
from src.paths import runs_dir
from src.records.metrics import mode_of
from src.records.record import FORMAT, RECORD, Record
from src.views.scalars import Point

Outcome = Literal["imported", "updated", "already there"]
_NAME, _NOTE, _TAGS = 200, 10_000, 100  # characters of a name and of a note, number of tags kept
# Tags that MLflow sets.
_NOTE_TAG, _COMMIT_TAG, _PARENT_TAG, _RESERVED = (
    "mlflow.note.content",
    "mlflow.source.git.commit",
    "mlflow.parentRunId",
    "mlflow.",
)
# Words in the names of metrics of the validation.
_VALIDATION = ("val", "valid", "validation", "eval", "dev")


def entries_of(run: SourceRun, monitor: str | None = None, mode: str | None = None) -> dict[str, Any]:
    """The entries of the record of a run, except tags and note, which a user changes afterwards.

    Args:
        run: the run.
        monitor: the metric of the best value; None: see ``_infer_monitor``.
        mode: min or max; None: that in the run's settings, else the one its name implies.

    Raises:
        DataError: the start or the end of the run is not a date.
    """
    try:
        start = datetime.fromtimestamp(run.started, UTC)
    except (ValueError, OverflowError, OSError):
        raise DataError(f"{run.store}: the run {run.id} started {run.started} seconds after 1970.") from None
    config = mask_settings(nested(run.params))
    monitor = monitor or _infer_monitor(run, config.get("monitor"))
    points = run.curves.get(monitor or "", [])
    if mode is None and config.get("monitor") == monitor and config.get("mode") in ("min", "max"):
        mode = config["mode"]
    mode = mode or mode_of(monitor or "")
    if not points or mode is None:
        monitor = None
    duration = None if run.status == "running" else round(max(0.0, run.changed - run.started), 3)
    commit = run.tags.get(_COMMIT_TAG)
    name = " ".join(f"{run.experiment}/{run.name}".split()).lstrip("-./ ")[:_NAME] or None
    return masked(
        {
            "format": FORMAT,
            "id": f"i{start:%Y%m%d-%H%M%S}-{hashlib.sha256(run.key.encode(errors='replace')).hexdigest()[:8]}",
            "name": name,
            "status": run.status,
            "command": f"python -m src.runs import {shlex.quote(str(run.store))}",
            "overrides": [],
            # Commands look up the metric and its mode here.
            "config": {**config, "monitor": monitor, **({"mode": mode} if monitor else {})},
            "seed": config["seed"] if isinstance(config.get("seed"), int) else None,
            "git": {"commit": commit, "dirty": None} if commit else None,
            "environment": {},
            "started": start.isoformat(timespec="milliseconds"),
            "duration_s": duration,
            "metrics": {tag: _finite(points[-1].value) for tag, points in sorted(run.curves.items())},
            "best": {"metric": monitor, **_best(points if monitor else [], mode, run), "checkpoint": None},
            "error": None,
            "sweep": None,
            "imported": {
                "from": str(run.store),
                "kind": run.kind,
                "id": run.id,
                "experiment": run.experiment,
                "name": name,
                "parent": run.tags.get(_PARENT_TAG),
                "changed": run.changed,
                "points": sum(map(len, run.curves.values())),
                "tags": {key: value for key, value in list(run.tags.items())[:_TAGS] if not key.startswith(_RESERVED)},
            },
        }
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _infer_monitor(run: SourceRun, setting: Any) -> str | None:
    """The metric of the best value, if it is evident.

    The setting ``monitor``, if it is a metric; else the only metric of the validation whose name implies a mode; of several
    the only loss.
    """
    if isinstance(setting, str) and setting in run.curves:
        return setting
    words = {tag: tag.lower().replace("/", " ").replace("_", " ").replace("-", " ").split() for tag in run.curves}
    found = [tag for tag in run.curves if set(_VALIDATION) & set(words[tag]) and mode_of(tag)]
    if len(found) > 1:
        found = [tag for tag in found if "loss" in words[tag]]
    return found[0] if len(found) == 1 else None


def _best(points: Sequence[Point], mode: str | None, run: SourceRun) -> dict[str, Any]:
    """The first best value, and its epoch if the run logged ``epoch`` at that step, as Lightning does."""
    finite = [point for point in points if math.isfinite(point.value)]
    if not finite:
        return {"value": None, "epoch": None}
    best = (min if mode == "min" else max)(finite, key=lambda point: point.value)
    epochs = {point.step: point.value for point in run.curves.get("epoch", [])}
    epoch = epochs.get(best.step)
    return {"value": best.value, "epoch": int(epoch) if epoch is not None and epoch.is_integer() else None}


def save(run: SourceRun, entries: Mapping[str, Any], tags: Sequence[str] = (), *, dry: bool = False) -> Outcome:
    """Write a run to the outputs directory; a run that was imported before is updated if it has changed.

    Args:
        run: the run.
        entries: its entries, see ``entries_of``.
        tags: tags to add to it.
        dry: only determine the outcome.

    Raises:
        DataError: the directory of the run has a damaged record.
    """
    directory = runs_dir() / entries["id"]
    is_new = not (directory / RECORD).exists()
    try:
        note = run.tags.get(_NOTE_TAG, "").strip()[:_NOTE] or None
        record = Record(directory, {"tags": [], "note": note}) if is_new else Record.load(directory)
    except ValueError as error:
        raise DataError(str(error)) from None
    kept = record.values["tags"]
    new = {**entries, "tags": [*kept, *(tag for tag in dict.fromkeys(tags) if tag not in kept)]}
    if not is_new and record.values["name"] != record.values["imported"].get("name"):
        new["name"] = record.values["name"]  # renamed here
    if {**record.values, **new} == record.values:
        return "already there"
    if not dry:
        directory.mkdir(parents=True, exist_ok=True)
        _write_curves(directory, run)
        record.update(**new)
    return "imported" if is_new else "updated"


def _write_curves(directory: Path, run: SourceRun) -> None:
    """Write the points to an event file, whose name does not change: those of one step and time are one event."""
    events: dict[tuple[int, float], Summary] = defaultdict(Summary)
    for tag, points in run.curves.items():
        for point in points:
            events[point.step, point.wall_time].value.add(tag=tag, simple_value=point.value)
    with replacing(directory / f"{PREFIX}{max(0, int(run.started)):010d}.imported") as file:
        writer = RecordWriter(file)
        writer.write(Event(wall_time=run.started, file_version="brain.Event:2").SerializeToString())
        for (step, time), summary in sorted(events.items(), key=lambda item: item[0]):
            writer.write(Event(wall_time=time, step=step, summary=summary).SerializeToString())
