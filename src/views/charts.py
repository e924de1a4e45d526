"""Data of the charts of a report: curves with mean and band over replicates, and the axes of the parallel coordinates."""

import math
import re
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from src.records.find import short_ids
from src.records.pareto import is_on_front
from src.records.record import Record
from src.records.replicates import Replicates, group
from src.records.settings import REPLICATES, settings_of, short_names, shown_names
from src.records.summary import Summary, is_low, summary
from src.views.bands import bands_of
from src.views.listing import setting_cells
from src.views.scalars import Point, curves
from src.views.table import brief, default_metrics

# Number of points of all curves of a report, about 10 bytes each, and of a single one.
_ALL_POINTS = 200_000
_FEWEST, _MOST = 40, 400
# Curves of training and validation share a chart: train/loss and val/loss, train_loss and val_loss.
_STAGE = re.compile(r"(train|val)[/_](.+)")
# With fewer runs the table says the same.
_FEWEST_LINES = 3
# A setting with more values has an axis of numbers, if its values are numbers.
_CHOICES = 6
# An axis of positive numbers is logarithmic if these are the least ratios of the highest to the lowest and to the median. Numbers
# from a uniform distribution may include a tiny one, but their median is about half of the highest.
_LOG_RANGE, _LOG_MEDIAN = 50, 5


@dataclass(frozen=True)
class Compared:
    """Runs of a report with the names by which its charts and its table distinguish them.

    Attributes:
        records: the runs, in the order of the table.
        runs: their summaries.
        settings: settings that differ, name to the value in each run as on a command line.
        groups: the configurations, in the order of their first run.
        group_of: index of the configuration of each run.
        labels: the words of a unique label for each configuration: the name of its runs if it is unique, and the settings
            that differ, as ``lr=0.01``.
        ids: shortened ids of the runs; within a sweep, the numbers of its jobs.
        objectives: of a search over several objectives, metric to mode, ``min`` or ``max``; else empty.
    """

    records: Sequence[Record]
    runs: Sequence[Summary]
    settings: Mapping[str, Sequence[str]]
    groups: Sequence[Replicates]
    group_of: Sequence[int]
    labels: Sequence[Sequence[str]]
    ids: Sequence[str]
    objectives: Mapping[str, str]

    @property
    def metrics(self) -> list[str]:
        """The objectives, and the metrics in a table of runs."""
        return [*dict.fromkeys([*self.objectives, *default_metrics(self.runs)])]

    def is_low(self, metric: str) -> bool:
        """Whether lower values of a metric are better."""
        mode = self.objectives.get(metric)
        return mode == "min" if mode else is_low(metric.removeprefix("best/"), self.records)

    @classmethod
    def of(cls, records: Sequence[Record], objectives: Mapping[str, str] = {}) -> "Compared":
        """Compare at least one run."""
        runs = [summary(record) for record in records]
        settings = setting_cells(records, shown_names(records)) if len(records) > 1 else {}
        groups = group(records)
        number = {id(record): index for index, one in enumerate(groups) for record in one.runs}
        ids = [run.id for run in runs]
        is_one_sweep = runs[0].sweep and {run.sweep for run in runs} == {runs[0].sweep}
        short = [record.directory.name for record in records] if is_one_sweep else short_ids(ids, set(ids), set())
        group_of = [number[id(record)] for record in records]
        firsts = [group_of.index(index) for index in range(len(groups))]
        labels = _labels(runs, settings, firsts, short)
        return cls(records, runs, settings, groups, group_of, labels, short, objectives)


def _labels(
    runs: Sequence[Summary], settings: Mapping[str, Sequence[str]], firsts: Sequence[int], ids: Sequence[str]
) -> list[list[str]]:
    """The words of a label for the configuration of each of the runs ``firsts``."""
    varied = {name: words for name, words in settings.items() if name not in REPLICATES}
    names = Counter(runs[first].name for first in firsts)
    labels = []
    for first in firsts:
        name = runs[first].name
        words = [name] if name and (names[name] == 1 or not varied) else []
        pairs = zip(short_names(varied), varied.values(), strict=True)
        words += [f"{setting}={brief(values[first])}" for setting, values in pairs if values[first]]
        labels.append(words)
    repeated = Counter(map(tuple, labels))
    return [
        words if words and repeated[tuple(words)] == 1 else [*words, ids[first]]
        for words, first in zip(labels, firsts, strict=True)
    ]


def chart_data(compared: Compared) -> dict[str, Any]:
    """The data of report.js.

    Returns:
        ``ids``, ``labels`` and ``groups`` (the configuration of each run) as in ``Compared``;
        ``metric``, the first metric of tables, and ``scores``, its value in each run, negated if lower is better; ``axes``, see
        ``axes``; ``front``, see ``front``; and the entries of ``charts``.
    """
    metric = next(iter(compared.metrics), None)
    values = [run.metrics.get(metric) if metric else None for run in compared.runs]
    sign = -1 if metric and compared.is_low(metric) else 1
    return {
        "ids": compared.ids,
        "labels": compared.labels,
        "groups": compared.group_of,
        "metric": metric,
        "scores": [None if value is None else sign * value for value in values],
        "axes": axes(compared),
        "front": front(compared),
        **charts(compared),
    }


def charts(compared: Compared) -> dict[str, Any]:
    """All curves with at least two points.

    Returns:
        ``charts``: for each its ``number``, ``title``, whether it ``is_main`` (training or validation of a metric), and its ``lines``.
        A line has ``tag``, ``group`` (a configuration), ``run`` (absent for a mean over replicates), ``steps`` (an index),
        ``values`` (null for NaN and Inf), and for a mean ``std`` and ``n``. ``steps``: lists of optimizer steps. ``thinned``: the
        maximum number of points of a curve; null if none has more.
    """
    measured = {id(record): curves(record.directory) for record in compared.records}
    lines: dict[str, list[dict[str, Any]]] = {}  # by tag
    for run, (configuration, record) in enumerate(zip(compared.group_of, compared.records, strict=True)):
        for tag, points in measured[id(record)].items():
            lines.setdefault(tag, []).append({"group": configuration, "run": run, **_values(points)})
    for configuration, replicates in enumerate(compared.groups):
        if len(replicates.used) > 1:
            for tag, band in bands_of([measured[id(record)] for record in replicates.used]).items():
                spread = {"std": [point.std for point in band], "n": [point.n for point in band]}
                means = [Point(point.step, 0.0, point.mean) for point in band]
                lines.setdefault(tag, []).append({"group": configuration, **_values(means), **spread})

    # The number of samples seen by a step differs only with the batch size.
    drawn = {tag: found for tag, found in lines.items() if tag != "samples" and _longest(found) > 1}
    most = max(_FEWEST, min(_MOST, _ALL_POINTS // max(1, sum(map(len, drawn.values())))))
    tags: dict[str, list[str]] = {}  # by title
    for tag in drawn:
        stage = _STAGE.fullmatch(tag)
        tags.setdefault(stage[2] if stage else tag, []).append(tag)
    steps: dict[tuple[int, ...], int] = {}
    found = [
        {
            "number": number,
            "title": title if len(tags[title]) > 1 else tags[title][0],
            "is_main": any(_STAGE.fullmatch(tag) and not tag.endswith("_step") for tag in tags[title]),
            "lines": [{"tag": tag, **_thinned(line, most, steps)} for tag in tags[title] for line in drawn[tag]],
        }
        for number, title in enumerate(sorted(tags, key=lambda title: (title != "loss", title != "acc")))
    ]
    is_thinned = any(_longest(one) > most for one in drawn.values())
    return {"charts": found, "steps": list(steps), "thinned": most if is_thinned else None}


def _longest(lines: Sequence[Mapping[str, Any]]) -> int:
    return max(len(line["values"]) for line in lines)


def _values(points: Sequence[Point]) -> dict[str, Any]:
    return {"steps": [point.step for point in points], "values": [point.value for point in points]}


def _thinned(line: Mapping[str, Any], most: int, steps: dict[tuple[int, ...], int]) -> dict[str, Any]:
    """A line with at most ``most`` points, in six significant digits, and its steps as an index into ``steps``."""
    kept = thin(line["values"], most)
    found = {key: value for key, value in line.items() if key in ("group", "run")}
    found |= {key: [_rounded(line[key][number]) for number in kept] for key in ("values", "std", "n") if key in line}
    return found | {"steps": steps.setdefault(tuple(line["steps"][number] for number in kept), len(steps))}


def _rounded(value: float | None) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(f"{value:.6g}")


def thin(values: Sequence[float], most: int) -> list[int]:
    """Choose the points of a curve to draw, so that no peak is lost: of equal parts of it the lowest and the highest value.

    Args:
        values: the values; NaN and Inf are never the lowest or the highest of a part, unless it has no other.
        most: maximum number of points, at least 4.

    Returns:
        Indices in increasing order; all if there are at most ``most``, else with the first and the last.
    """
    if len(values) <= most:
        return list(range(len(values)))
    parts = (most - 2) // 2
    bounds = [1 + number * (len(values) - 2) // parts for number in range(parts + 1)]
    kept = {0, len(values) - 1}
    for begin, end in pairwise(bounds):
        inner = [number for number in range(begin, end) if math.isfinite(values[number])] or [begin]
        kept |= {min(inner, key=values.__getitem__), max(inner, key=values.__getitem__)}
    return sorted(kept)


def axes(compared: Compared) -> list[dict[str, Any]]:
    """The axes of the parallel coordinates: the settings that differ, except seed and fold, and the metrics shown in tables.

    Returns:
        For each axis ``name``, ``scale`` (``linear``, ``log`` or ``choice``), and ``values``: a number or a word for each run,
        null where it has none. Empty for two runs, and if there is no setting or no metric.
    """
    if len(compared.runs) < _FEWEST_LINES:
        return []
    varied = [name for name in compared.settings if name not in REPLICATES]
    found = [settings_of(record) for record in compared.records]
    settings = [
        _axis(short, [one.get(name) for one in found], compared.settings[name])
        for name, short in zip(varied, short_names(varied), strict=True)
    ]
    metrics: list[dict[str, Any]] = []
    for name in compared.metrics:
        values = [run.metrics.get(name) for run in compared.runs]
        if len({*values} - {None}) > 1:
            metrics.append({"name": name, "scale": "linear", "values": values})
    return settings + metrics if settings and metrics else []


def front(compared: Compared) -> dict[str, Any] | None:
    """The objectives of a search over several, and its Pareto front among the runs that are done.

    Returns:
        ``objectives``, each with ``name``, ``mode``, ``is_log`` and ``values``, one for each run, null where it is not done or has
        none; and ``runs``, the numbers of the runs on the front. None for any other comparison.
    """
    if not compared.objectives:
        return None
    done = [run.metrics if run.status == "done" else {} for run in compared.runs]
    values = {name: [metrics.get(name) for metrics in done] for name in compared.objectives}
    on_front = is_on_front([*zip(*values.values(), strict=True)], [*compared.objectives.values()])
    return {
        "objectives": [
            {
                "name": name,
                "mode": mode,
                "is_log": _is_log([value for value in values[name] if value is not None]),
                "values": values[name],
            }
            for name, mode in compared.objectives.items()
        ],
        "runs": [number for number, is_on in enumerate(on_front) if is_on],
    }


def _is_log(values: Sequence[float]) -> bool:
    """Whether an axis of these numbers is logarithmic."""
    low, median, high = (min(values), statistics.median(values), max(values)) if values else (0, 0, 0)
    return low > 0 and high >= _LOG_RANGE * low and high >= _LOG_MEDIAN * median


def _axis(name: str, values: Sequence[Any], words: Sequence[str]) -> dict[str, Any]:
    """The axis of a setting, from its values in the runs and the words for them on a command line."""
    known = [value for value in values if value is not None]
    if not all(map(_is_number, known)) or len(set(known)) <= _CHOICES:
        return {"name": name, "scale": "choice", "values": [label or None for label in _choices(words)]}
    return {"name": name, "scale": "log" if _is_log(known) else "linear", "values": values}


def _choices(words: Sequence[str]) -> list[str]:
    """Labels of the values of a setting, which are shortened unless different values would get the same one."""
    short = list(map(brief, words))
    return short if len({*short}) == len({*words}) else list(words)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
