"""``ls`` and ``best``: runs in a table."""

import csv
import io
import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rich.table import Table

from src.errors import ConfigError, RunNotFound, suggest
from src.records.filters import Filter, values_of
from src.records.record import Record
from src.records.settings import as_word, comparable, differing, metrics_of, settings_of
from src.views.table import make_table

# In this order, and whatever else was measured after them.
_METRICS = ("val/acc", "test/acc", "val/loss", "test/loss")
# Where less is more.
_LOW = ("/loss", "age", "duration")


def choose(records: Sequence[Record], text: str | None) -> list[Record]:
    """The records a filter matches; all without one."""
    return list(records) if text is None else Filter(text).choose(records)


def order(records: Sequence[Record], by: str | None) -> list[Record]:
    """The best first by a metric, a setting or a field; the latest first by none. What lacks it comes last.

    Raises:
        ConfigError: no run has it.
    """
    if by is None:
        return list(reversed(records))
    values = {id(record): values_of(record) for record in records}
    known = {name for one in values.values() for name in one}
    if records and by not in known:
        raise ConfigError(f"--sort {by}: no run has it{suggest(by, known)}")
    low = by.endswith(_LOW)
    having = [record for record in records if values[id(record)].get(by) not in (None, [])]
    numbers = all(isinstance(values[id(record)][by], int | float) for record in having)

    def key(record: Record) -> Any:
        value = values[id(record)][by]
        return value if numbers else as_word(value)

    lacking = [record for record in records if record not in having]
    return sorted(having, key=key, reverse=numbers and not low) + lacking


def best(records: Sequence[Record], metric: str) -> Record:
    """The finished run with the best value of a metric, among those on the data set of the latest finished run that has it.

    Raises:
        RunNotFound: none has it.
    """
    done = [record for record in records if record.values["status"] == "done" and metric in metrics_of(record)]
    if not done:
        known = {name for record in records for name in metrics_of(record)}
        raise RunNotFound(f"no finished run has a {metric!r}{suggest(metric, known)}")
    sign = -1 if metric.endswith(_LOW) else 1
    return max(comparable(done), key=lambda record: sign * metrics_of(record)[metric])


def as_table(records: Sequence[Record], width: int) -> Table:
    """For a terminal of so many characters."""
    runs = [record.values for record in records]
    measured = [metrics_of(record) for record in records]
    settings = [settings_of(record) for record in records]
    columns = {
        "id": [run["id"] for run in runs],
        "name": [run["name"] or "" for run in runs],
        "tags": [" ".join(run["tags"]) for run in runs],
        "status": [
            "pruned" if run.get("pruned_in_epoch") else record.status for record, run in zip(records, runs, strict=True)
        ],
        **{name: [_figure(one.get(name)) for one in measured] for name in ("val/acc", "test/acc")},
        "age": [age(run["started"]) for run in runs],
        "took": [length(run["duration_s"]) for run in runs],
    }
    varied = {name: [as_word(one[name]) if name in one else "" for one in settings] for name in differing(settings)}
    return make_table("", columns, varied, width)


def as_json(records: Sequence[Record]) -> str:
    """The whole records, each with its directory."""
    return json.dumps([record.as_plain() for record in records], indent=2)


def as_csv(records: Sequence[Record]) -> str:
    """A line each, with every setting that differs; numbers in full."""
    settings = [settings_of(record) for record in records]
    measured = [metrics_of(record) for record in records]
    names = [*_METRICS, *sorted({name for one in measured for name in one} - set(_METRICS))]
    varied = differing(settings)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "name", "tags", "status", *names, *varied, "started", "duration_s"])
    for record, one, reached in zip(records, settings, measured, strict=True):
        run = record.values
        writer.writerow(
            [
                *(run["id"], run["name"], " ".join(run["tags"]), record.status),
                *(reached.get(name) for name in names),
                *(as_word(one[name]) if name in one else None for name in varied),
                *(run["started"], run["duration_s"]),
            ]
        )
    return text.getvalue()


def age(started: str) -> str:
    """How long ago."""
    return length((datetime.now(UTC) - datetime.fromisoformat(started)).total_seconds())


def length(seconds: float | None) -> str:
    """A time in its largest unit."""
    if seconds is None or not math.isfinite(seconds):
        return ""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
