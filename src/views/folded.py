"""Tables of configurations: mean and standard deviation over replicates, ``ls --fold``."""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from src.formatting import figure
from src.records.baseline import Baseline
from src.records.find import short_ids
from src.records.replicates import Aggregate, Replicates, is_folded
from src.records.settings import shown_names
from src.records.summary import is_low, metric_names
from src.views.listing import order, setting_cells
from src.views.table import Column, Forms, default_metrics, difference, forms_of

# Decimals at most, for spreads that are tiny.
_DECIMALS = 9


def mean_and_std(value: Aggregate | None) -> str:
    """``0.9712 ± 0.0021``, with two significant digits of the standard deviation; the mean alone for a single value."""
    if value is None:
        return ""
    if not value.std:
        return figure(value.mean)
    exponent = int(f"{value.std:.1e}".partition("e")[2])
    decimals = min(max(1 - exponent, 0), _DECIMALS)
    return f"{value.mean:.{decimals}f} ± {value.std:.{decimals}f}"


def order_groups(groups: Sequence[Replicates], by: str | None) -> list[Replicates]:
    """Sort configurations by the mean of a metric, a setting or a field, best first; by default that of the latest run first.

    Raises:
        ConfigError: no run has the metric, setting or field.
    """
    latest = {id(one.runs[-1]): one for one in groups}
    records = sorted((one.runs[-1] for one in groups), key=lambda record: record.started)
    means = {id(one): one.metric(by) for one in groups} if by else {}
    if not any(means.values()):
        return [latest[id(record)] for record in order(records, by)]
    low = is_low(by.removeprefix("best/"), records) if by else False

    def rank(one: Replicates) -> tuple[bool, float]:
        mean = means[id(one)]
        return mean is None, 0.0 if mean is None else mean.mean if low else -mean.mean

    return sorted(groups, key=rank)


def table(
    groups: Sequence[Replicates], over: Sequence[str], every: Collection[str], baseline: Baseline | None = None
) -> Forms:
    """The table of configurations, a row for each with the id of its latest run.

    Args:
        groups: the configurations.
        over: settings and groups in which their runs differ.
        every: the ids of all runs, by which ids are shortened if space is short.
        baseline: the configurations on its data are compared with it.
    """
    full = [one.runs[-1].values["id"] for one in groups]
    metrics = default_metrics([run for one in groups for run in one.summaries])
    columns = [
        Column("status", [_statuses(one) for one in groups], 55, least=8),
        *(
            Column(name, [_cell(one.metric(name)) for one in groups], 35 + number)
            for number, name in enumerate(metrics)
        ),
        Column("vs baseline", [difference(_difference(one, baseline)) for one in groups], 36),
    ]
    forms = forms_of(columns, _settings(groups, over))
    names = {one.runs[-1].values["name"] for one in groups} - {None}
    short = short_ids(full, every, names)
    return [[Column("id", full), *forms[0]], [Column("id", short), *forms[0]], [Column("id", short), *forms[-1]]]


def as_rows(
    groups: Sequence[Replicates], over: Sequence[str], baseline: Baseline | None = None
) -> list[dict[str, Any]]:
    """A row for each configuration, with mean, standard deviation and count of all metrics in full precision."""
    names = metric_names(run for one in groups for run in one.summaries)
    settings = _settings(groups, over)
    rows = []
    for number, one in enumerate(groups):
        row: dict[str, Any] = {"id": one.runs[-1].values["id"], "status": _statuses(one), "n": len(one.used)}
        for name in names:
            value = one.metric(name)
            row |= {
                name: value and value.mean,
                f"{name} std": value and value.std,
                f"{name} n": value.n if value else 0,
            }
        if baseline:
            row["vs_baseline"] = _difference(one, baseline)
        rows.append(row | {name: values[number] for name, values in settings.items()})
    return rows


def _cell(value: Aggregate | None) -> str:
    return f"{mean_and_std(value)} ({value.n})" if value else ""


def _statuses(one: Replicates) -> str:
    """``done``, or the number of runs with each status, ``done 4, failed 1``."""
    counts = Counter(record.status for record in one.runs)
    return (
        next(iter(counts)) if len(counts) == 1 else ", ".join(f"{status} {count}" for status, count in counts.items())
    )


def _settings(groups: Sequence[Replicates], over: Sequence[str]) -> dict[str, list[str]]:
    records = [one.runs[-1] for one in groups]
    return setting_cells(records, [name for name in shown_names(records) if not is_folded(name, over)])


def _difference(one: Replicates, baseline: Baseline | None) -> float | None:
    """Mean of the replicates minus that of the baseline's."""
    value = baseline and one.metric(baseline.metric)
    return baseline.difference(one.used[-1], value.mean) if baseline and value else None
