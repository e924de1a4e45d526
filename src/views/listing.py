"""Tables of runs: ``ls`` and ``best``."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from src.errors import ConfigError, suggest, suggest_key
from src.formatting import duration, figure
from src.records.baseline import Baseline
from src.records.filters import FIELDS, Filter, value_of, values_of
from src.records.find import short_ids
from src.records.record import Record
from src.records.settings import as_word, settings_of, shown_names
from src.records.summary import Summary, differing, is_low, metric_names, summary
from src.views.table import Column, Forms, difference, forms_of, metric_column, metric_columns, setting_columns

# Fields that the table shows in columns of its own.
_USUAL = ("id", "name", "tags", "status", "age", "duration")


@dataclass(frozen=True)
class Asked:
    """What a table of runs shows in addition to its usual columns, or instead of them.

    Attributes:
        keys: metrics, settings and fields by which the runs were sorted or filtered.
        columns: metrics, settings and fields to show instead of the usual columns; None for those.
    """

    keys: Sequence[str] = ()
    columns: Sequence[str] | None = None


def asked_for(sort: str | None, filter: str | None, columns: str | None) -> Asked:
    """What a command line asks for, ``columns`` separated by commas."""
    keys = dict.fromkeys([*([sort] if sort else []), *(Filter(filter).names if filter else ())])
    names = None if columns is None else [name for word in columns.split(",") if (name := word.strip())]
    return Asked([*keys], names)


def choose(records: Sequence[Record], text: str | None) -> list[Record]:
    """The records that match a filter; all records without a filter."""
    return list(records) if text is None else Filter(text).choose(records)


def order(records: Sequence[Record], by: str | None, *, reverse: bool = False) -> list[Record]:
    """Sort runs by a metric, a setting or a field, runs without it last; by default latest first.

    The best value of a metric is first, the latest start, and otherwise the lowest value.

    Raises:
        ConfigError: no run has the metric, setting or field.
    """
    if by is None:
        return list(records) if reverse else list(reversed(records))
    values = [(record, value_of(record, by)) for record in records]
    having = [(record, value) for record, value in values if value not in (None, [])]
    if records and not having:
        _check([by], records, "--sort ")
    numbers = all(isinstance(value, int | float) for _, value in having)
    descending = by == "started" or (numbers and _is_metric(by, records) and not is_low(_metric(by, records), records))
    having.sort(key=lambda one: one[1] if numbers else as_word(one[1]), reverse=descending != reverse)
    return [record for record, _ in having] + [record for record, value in values if value in (None, [])]


def _is_metric(name: str, records: Sequence[Record]) -> bool:
    if name in FIELDS:
        return name == "best"
    return any(
        name in record.values["metrics"] or name == f"best/{record.values['best']['metric']}" for record in records
    )


def _metric(name: str, records: Sequence[Record]) -> str:
    """The metric whose mode decides: for ``best``, which the latest run monitors."""
    if name != "best":
        return name.removeprefix("best/")
    return next((found for record in reversed(records) if (found := record.values["best"]["metric"])), name)


def _check(names: Sequence[str], records: Sequence[Record], option: str) -> None:
    """Check that at least one of these runs has each name.

    Raises:
        ConfigError: one is no metric, setting or field of these runs.
    """
    known = {name for record in records for name in _names_of(record)} | set(FIELDS)
    for name in names:
        if name not in known:
            raise ConfigError(
                f"{option}{name}: no run has it{suggest(name, known) or suggest_key(name, known) or ', as a metric, a setting or a field.'}"
            )


def _names_of(record: Record) -> Collection[str]:
    return values_of(record).keys() | summary(record).metrics.keys()  # also metrics that are not finite


def table(records: Sequence[Record], asked: Asked, every: Collection[str], baseline: Baseline | None = None) -> Forms:
    """The table of these runs. All its columns are chosen here.

    Args:
        records: the runs, one for each row.
        asked: what the command line asks for.
        every: the ids of all runs, by which ids are shortened if space is short.
        baseline: the runs on its data are compared with it.

    Raises:
        ConfigError: a column is no metric, setting or field of these runs.
    """
    runs = [summary(record) for record in records]
    full = [run.id for run in runs]
    short = short_ids(full, every, {run.name for run in runs if run.name})
    if asked.columns is not None:
        _check(asked.columns, records, "--columns ")
        chosen = [_column(name, records, runs, 0) for name in asked.columns if name != "id"]
        return [[Column("id", ids), *chosen] for ids in (full, short)]
    settings = setting_cells(records, shown_names(records))
    extra = [name for name in asked.keys if name not in _USUAL]
    apart = {name: settings.pop(name) for name in extra if name in settings}
    columns = [
        Column("name", [run.name or "" for run in runs], 10, least=12, enough=24),
        Column("tags", [" ".join(run.tags) for run in runs], 80, least=8),
        Column("status", [run.status for run in runs], 20),
        Column("details", [details(run) for run in runs], 30, least=24, enough=24),
        *(_column(name, records, runs, 35) for name in extra if name not in apart),
        *setting_columns(apart, 35),
        *(column for column in metric_columns(runs) if column.heading not in extra),
        Column("vs baseline", [difference(_difference(record, baseline)) for record in records], 38),
        Column("age", [duration(run.age) for run in runs], 70),
        Column("took", [duration(run.duration) for run in runs], 90),
    ]
    forms = forms_of(columns, settings)
    spacious, compact = forms[0], forms[-1]
    return [
        [Column("id", full), *spacious],
        [Column("id", short), *spacious],
        [Column("id", short), *compact],
    ]


def _difference(record: Record, baseline: Baseline | None) -> float | None:
    return baseline.difference(record) if baseline else None


def _column(name: str, records: Sequence[Record], runs: Sequence[Summary], rank: int) -> Column:
    """The column of a metric, a setting or a field."""
    if name in FIELDS:
        return Column(name, [_field(name, run) for run in runs], rank, least=12)
    if any(name in run.metrics for run in runs):
        return metric_column(name, runs, rank)
    [column] = setting_columns(setting_cells(records, [name]), rank)
    return column


def _field(name: str, run: Summary) -> str:
    value = getattr(run, name)
    if name in ("age", "duration"):
        return duration(value)
    if name == "best":
        return figure(value)
    if name == "started":
        return str(value)[:19].replace("T", " ")
    return " ".join(value) if isinstance(value, list) else str(value or "")


def setting_cells(records: Sequence[Record], names: Sequence[str]) -> dict[str, list[str]]:
    """Settings of runs: name to the value in each run as on a command line, empty if the run has none."""
    found: list[Mapping[str, Any]] = [settings_of(record) for record in records]
    return {name: [as_word(one[name]) if name in one else "" for one in found] for name in names}


def details(run: Summary) -> str:
    """The error of a failed run; the epoch of one that is running or was stopped, and the time remaining."""
    if run.status == "failed":
        return run.error or ""
    if run.status == "done" or run.epoch is None:
        return ""
    epoch = f"epoch {run.epoch}" + (f"/{run.epochs}" if run.epochs else "")
    return epoch if run.remaining is None else f"{epoch}, {duration(run.remaining)} left"


def as_rows(records: Sequence[Record], asked: Asked, baseline: Baseline | None = None) -> list[dict[str, Any]]:
    """A row for each run in full precision: with all metrics and all settings that differ, or with the asked columns."""
    if asked.columns is not None:
        _check(asked.columns, records, "--columns ")
        return [
            {"id": record.values["id"]} | {name: value_of(record, name) for name in asked.columns} for record in records
        ]
    runs, varied = [summary(record) for record in records], differing(records)
    names = metric_names(runs)
    return [
        {
            **{"id": run.id, "name": run.name, "tags": " ".join(run.tags), "status": run.status},
            **{name: run.metrics.get(name) for name in names},
            **({"vs_baseline": baseline.difference(records[number])} if baseline else {}),
            **{name: values[number] for name, values in varied.items()},
            **{"started": run.started, "duration_s": run.duration},
        }
        for number, run in enumerate(runs)
    ]
