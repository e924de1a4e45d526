"""Tables of runs: ``ls`` and ``best``."""

import math
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from src.errors import ConfigError, suggest
from src.records.filters import Filter, values_of
from src.records.record import Record
from src.records.settings import as_word
from src.records.summary import differing, is_low, metric_names, summary
from src.views.table import make_table, metric_columns


def choose(records: Sequence[Record], text: str | None) -> list[Record]:
    """The records that match a filter; all records without a filter."""
    return list(records) if text is None else Filter(text).choose(records)


def order(records: Sequence[Record], by: str | None) -> list[Record]:
    """Sort runs by a metric, a setting or a field, best first and runs without it last; by default latest first.

    Raises:
        ConfigError: no run has the metric, setting or field.
    """
    if by is None:
        return list(reversed(records))
    values = {id(record): values_of(record) for record in records}
    known = {name for one in values.values() for name in one}
    if records and by not in known:
        raise ConfigError(f"--sort {by}: no run has it{suggest(by, known)}")
    low = is_low(by.removeprefix("best/"), records) or by in ("age", "duration")
    having = [record for record in records if values[id(record)].get(by) not in (None, [])]
    numbers = all(isinstance(values[id(record)][by], int | float) for record in having)

    def key(record: Record) -> Any:
        value = values[id(record)][by]
        return value if numbers else as_word(value)

    known_ids = {id(record) for record in having}
    lacking = [record for record in records if id(record) not in known_ids]
    return sorted(having, key=key, reverse=numbers and not low) + lacking


def as_table(records: Sequence[Record], width: int) -> Table:
    """Render for a terminal of ``width`` characters."""
    runs = [summary(record) for record in records]
    columns = {
        "id": [run.id for run in runs],
        "name": [run.name or "" for run in runs],
        "tags": [" ".join(run.tags) for run in runs],
        "status": [run.status for run in runs],
        **metric_columns(runs),
        "age": [length(run.age) for run in runs],
        "took": [length(run.duration) for run in runs],
    }
    return make_table("", columns, differing(records), width)


def as_rows(records: Sequence[Record]) -> list[dict[str, Any]]:
    """A row for each run, with all metrics and all settings that differ, in full precision."""
    runs, varied = [summary(record) for record in records], differing(records)
    names = metric_names(runs)
    return [
        {
            **{"id": run.id, "name": run.name, "tags": " ".join(run.tags), "status": run.status},
            **{name: run.metrics.get(name) for name in names},
            **{name: values[number] for name, values in varied.items()},
            **{"started": run.started, "duration_s": run.duration},
        }
        for number, run in enumerate(runs)
    ]


def length(seconds: float | None) -> str:
    """Format a duration in its largest unit."""
    if seconds is None or not math.isfinite(seconds):
        return ""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"
