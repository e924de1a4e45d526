"""Replicates: runs of one configuration, which differ only in seed and fold, and mean and spread of their metrics."""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from src.errors import ConfigError, suggest
from src.records.record import Record
from src.records.settings import DATA_PATHS, REPLICATES, containing, data_of, flat_settings, own_settings
from src.records.summary import Summary, summary

# Identified by ``data_of``, which resolves relative paths.
_PATHS = tuple(f"data.{path}" for path in DATA_PATHS)


@dataclass(frozen=True)
class Aggregate:
    """Mean and spread of a metric.

    Attributes:
        n: number of values.
        mean: their mean.
        std: their sample standard deviation, with n - 1 in the denominator; None for a single value.
    """

    n: int
    mean: float
    std: float | None


def aggregate(values: Sequence[float]) -> Aggregate | None:
    """Aggregate the values of a metric; None if there are none."""
    if not values:
        return None
    return Aggregate(len(values), statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)


@dataclass(frozen=True)
class Replicates:
    """The runs of one configuration.

    Attributes:
        runs: all of them, oldest first.
        used: the runs that count: those that are done, of each seed and fold the latest.
        left_out: each of the others, with the reason.
    """

    runs: list[Record]
    used: list[Record]
    left_out: list[tuple[Record, str]]

    @cached_property
    def summaries(self) -> list[Summary]:
        """Summaries of the runs that count."""
        return [summary(record) for record in self.used]

    def metric(self, name: str) -> Aggregate | None:
        """Mean and spread of a metric, by its name in tables, over the runs that count; None if none of them has it."""
        values = [run.metrics.get(name) for run in self.summaries]
        return aggregate([value for value in values if value is not None])


def value_of(record: Record, metric: str) -> float | None:
    """The best value of a metric if the run monitored it, else the last; None if the run has none, or it is not finite."""
    return summary(record).value_of(metric)


def seed_and_fold(record: Record) -> tuple[Any, ...]:
    """The values by which replicates are paired."""
    return tuple(_lookup(record.values["config"], name) for name in REPLICATES)


def configuration_of(record: Record, over: Sequence[str] = REPLICATES) -> str:
    """Identify the configuration of a run: its data set and its settings, except those in which replicates differ.

    Args:
        record: the run.
        over: dotted names of these settings; the name of a group stands for all settings in it.
    """
    return json.dumps([data_of(record), _unfolded(own_settings(record), over)], sort_keys=True)


def _unfolded(settings: Mapping[str, Any], over: Sequence[str]) -> dict[str, Any]:
    """The settings in which replicates are equal."""
    return {name: value for name, value in settings.items() if name not in _PATHS and not is_folded(name, over)}


def configurations(records: Iterable[Record], over: Sequence[str] = REPLICATES) -> list[str]:
    """``configuration_of`` each of many runs; computed once for those whose recorded configurations are the same."""
    known: dict[str, str] = {}
    found = []
    for record in records:
        recorded = json.dumps(_without(record.values["config"], [*over, "name", "tags"]))
        if recorded not in known:
            known[recorded] = configuration_of(record, over)
        found.append(known[recorded])
    return found


def is_folded(name: str, over: Sequence[str]) -> bool:
    """Whether a setting is one of those that are grouped over, or belongs to one of their groups."""
    return any(name == one or name.startswith(f"{one}.") for one in over)


def _lookup(config: Any, name: str) -> Any:
    """The value of a setting or a group in a nested configuration; None if it has none."""
    for key in name.split("."):
        config = config.get(key) if isinstance(config, Mapping) else None
    return config


def _without(config: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """A nested configuration without some settings or groups."""
    left = dict(config)
    for name in names:
        key, _, rest = name.partition(".")
        if not rest:
            left.pop(key, None)
        elif isinstance(left.get(key), Mapping):
            left[key] = _without(left[key], [rest])
    return left


def replicates_of(record: Record, records: Sequence[Record]) -> Replicates:
    """The runs among ``records`` that have the configuration of a run."""
    configuration = configuration_of(record)
    similar = [other for other in records if not _differ(record, other)]
    found = zip(similar, configurations(similar), strict=True)
    return as_replicates([other for other, other_configuration in found if other_configuration == configuration])


def _differ(record: Record, other_record: Record) -> bool:
    """Whether two runs certainly have different configurations, by the first entry in which they do.

    It takes a fraction of the time of ``configuration_of``. Numbers of different types, such as 1 and 1.0, count as equal.
    """
    if record.is_imported or other_record.is_imported:
        return False
    one, other = record.values["config"], other_record.values["config"]

    def settings(config: Mapping[str, Any], key: str) -> dict[str, Any]:
        return _unfolded(flat_settings(containing([key], config)), REPLICATES)

    return any(
        one.get(key) != other.get(key) and settings(one, key) != settings(other, key) for key in {**one, **other}
    )


def group(records: Sequence[Record], over: Sequence[str] = REPLICATES) -> list[Replicates]:
    """Group runs by their configuration, in the order of the first run of each.

    Args:
        records: the runs, oldest first.
        over: see ``configuration_of``.
    """
    groups: dict[str, list[Record]] = {}
    for record, configuration in zip(records, configurations(records, over), strict=True):
        groups.setdefault(configuration, []).append(record)
    return [as_replicates(runs, over) for runs in groups.values()]


def as_replicates(runs: Sequence[Record], over: Sequence[str] = REPLICATES) -> Replicates:
    """Choose the runs that count among those of one configuration; all are in the order of their starts.

    Two runs with the same seed and fold are repetitions, not independent samples, so only the latest of them counts; of a run
    and the copies of its directory, the run.
    """
    runs = sorted(runs, key=lambda record: record.started)
    kept: dict[str, Record] = {}
    for record in sorted(runs, key=lambda record: not record.is_copy):
        if record.status == "done":
            kept[_folded(record, over)] = record

    def reason(record: Record) -> str:
        if record.status != "done":
            return summary(record).ended
        other = kept[_folded(record, over)].values["id"]
        return "a copy" if other == record.values["id"] else f"repeats {other}"

    used = {id(record) for record in kept.values()}
    left_out = [(record, reason(record)) for record in runs if id(record) not in used]
    return Replicates(runs, [record for record in runs if id(record) in used], left_out)


def _folded(record: Record, over: Sequence[str]) -> str:
    return json.dumps([_lookup(record.values["config"], name) for name in over], sort_keys=True)


def check_folded(names: Sequence[str], records: Sequence[Record]) -> None:
    """Check that settings to group over exist.

    Raises:
        ConfigError: no run has one of them.
    """
    for name in names:
        if name in REPLICATES or any(_lookup(record.values["config"], name) is not None for record in records):
            continue
        known = {name for record in records for name in own_settings(record)}
        if name not in known:
            raise ConfigError(f"--fold {name}: no run has this setting{suggest(name, known)}")
