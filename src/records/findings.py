"""What a set of runs has shown: the best run, the values tried, plateaus, errors, progress."""

import re
import shutil
import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from src.paths import outputs_dir
from src.records.record import Record
from src.records.settings import as_word, data_of, settings_of, shown_names
from src.records.summary import Summary, is_low, metric_names, summary

# Values of a setting and ids of runs that are listed at most; the numbers of all of them are stated.
_MOST = 20
# What differs between messages of the same error.
_NUMBER = re.compile(r"0x[0-9a-fA-F]+|\d+(?:\.\d+)?")


def findings(records: Sequence[Record], k: int) -> dict[str, Any]:
    """Summarize runs as plain data, described in docs/runs.md.

    Args:
        records: the runs.
        k: number of finished runs without improvement that count as a plateau.
    """
    runs = [(record, summary(record)) for record in sorted(records, key=lambda record: record.started)]
    groups: defaultdict[tuple[str, str | None], list[tuple[Record, Summary]]] = defaultdict(list)
    for record, run in runs:
        groups[data_of(record), run.monitor].append((record, run))
    disk = shutil.disk_usage(outputs_dir()) if outputs_dir().exists() else None
    return {
        "runs": len(runs),
        "status": dict(sorted(Counter(run.status for _, run in runs).items())),
        "groups": [
            {"data": data, "metric": metric, **_group(members, metric, k)}
            for (data, metric), members in sorted(groups.items(), key=lambda item: -len(item[1]))
        ],
        "failed": _errors([(record, run) for record, run in runs if run.status == "failed"]),
        "interrupted": [run.id for _, run in runs if run.status == "interrupted"],
        "running": [_progress(run) for _, run in runs if run.status == "running"],
        "disk": disk and {"free_bytes": disk.free, "total_bytes": disk.total},
    }


def _group(members: Sequence[tuple[Record, Summary]], metric: str | None, k: int) -> dict[str, Any]:
    """The runs on one data set that monitor the same metric."""
    records = [record for record, _ in members]
    is_min = metric is not None and is_low(metric, records)
    rated = [(record, run) for record, run in members if record.is_finished and run.best is not None]
    settings = [settings_of(record) for record in records]
    names = shown_names(records) if len(records) > 1 else []
    found: dict[str, Any] = {
        "mode": None if metric is None else "min" if is_min else "max",
        "runs": len(members),
        "finished": sum(record.is_finished for record in records),
        "best": None,
        "tried": {},
        "plateau": None,
    }
    if rated:
        record, run = (min if is_min else max)(rated, key=lambda one: one[1].best or 0.0)
        own = settings_of(record)
        found["best"] = {
            "id": run.id,
            "name": run.name,
            "value": run.best,
            "epoch": run.best_epoch,
            "metrics": run.metrics,
            "settings": {name: own[name] for name in names or shown_names([record]) if name in own},
            "command": run.command,
        }
        found["plateau"] = _plateau([run.best or 0.0 for _, run in rated], is_min, k)
    for name in names:
        tried = [
            (one[name], run.status, run.best if record.is_finished else None)
            for one, (record, run) in zip(settings, members, strict=True)
            if name in one
        ]
        found["tried"][name] = _tried(tried, is_min)
    return found


def _tried(tried: Sequence[tuple[Any, str, float | None]], is_min: bool) -> dict[str, Any]:
    """The values of a setting, the best first; ``tried`` holds the value in each run, its status, and its best metric."""
    values: dict[str, Any] = {}
    scores: defaultdict[str, list[float]] = defaultdict(list)
    counts: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for value, status, score in tried:
        word = as_word(value)
        values[word] = value
        counts[word] += 1
        failed[word] += status == "failed"
        if score is not None:
            scores[word].append(score)
    rows = [
        {
            "value": value,
            "runs": counts[word],
            "failed": failed[word],
            "scored": len(found := scores[word]),
            "best": (min if is_min else max)(found, default=None),
            "mean": statistics.fmean(found) if found else None,
        }
        for word, value in values.items()
    ]
    rows.sort(key=lambda row: (row["best"] is None, (row["best"] or 0.0) * (1 if is_min else -1)))
    numbers = [value for value in values.values() if isinstance(value, int | float) and not isinstance(value, bool)]
    is_range = len(numbers) == len(values)
    return {
        "distinct": len(values),
        "range": [min(numbers), max(numbers)] if is_range else None,
        "values": rows[:_MOST],
    }


def _plateau(scores: Sequence[float], is_min: bool, k: int) -> dict[str, Any]:
    """Whether the last k finished runs improved the best value; ``scores`` are in the order of the runs' starts."""
    best = (min if is_min else max)(scores)
    latest, before = scores[-k:], scores[:-k]
    before_best = (min if is_min else max)(before, default=None)
    improved_by = None
    if before_best is not None:
        last = (min if is_min else max)(latest)
        improved_by = max(0.0, before_best - last if is_min else last - before_best)
    return {
        "rule": f"none of the last {k} finished runs, in the order of their starts, is better than the best before them",
        "k": k,
        "reached": None if improved_by is None else improved_by == 0,
        "best_before": before_best,
        "improved_by": improved_by,
        "runs_since_best": len(scores) - 1 - scores.index(best),
    }


def _errors(failed: Sequence[tuple[Record, Summary]]) -> list[dict[str, Any]]:
    """Failed runs by error, the most frequent first. Messages that differ only in numbers are one error."""
    groups: defaultdict[tuple[str | None, str], list[tuple[Record, Summary]]] = defaultdict(list)
    for record, run in failed:
        groups[record.values.get("error_type"), _NUMBER.sub("#", run.error or "")].append((record, run))
    return [
        {
            "error": members[-1][1].error,
            "type": kind,
            "runs": len(members),
            "would_fail_again": members[-1][0].would_fail_again,
            "ids": [run.id for _, run in members[: -_MOST - 1 : -1]],
        }
        for (kind, _), members in sorted(groups.items(), key=lambda item: -len(item[1]))
    ]


def _progress(run: Summary) -> dict[str, Any]:
    metric = run.monitor or next(iter(metric_names([run])), None)
    return {
        "id": run.id,
        "name": run.name,
        "epoch": run.epoch,
        "epochs": run.epochs,
        "step": run.step,
        "remaining_s": run.remaining,
        "metric": metric,
        "last": run.metrics.get(metric) if metric else None,
        "best": run.best,
    }
