"""The jobs of a sweep by what they reached: only what differs, seeds folded into one row, and what mattered."""

import csv
import io
import json
import math
import statistics
import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table

from src.files import write
from src.sweeps.sweep import TABLE, Sweep
from src.tracking.record import Record
from src.tracking.settings import differing
from src.tracking.table import brief, make_table

# Below so many finished jobs nothing can be said about what mattered.
_ENOUGH = 4


@dataclass
class Row:
    """Jobs that differ in their seed alone.

    Attributes:
        settings: those that differ within the sweep, key to value, as on the command line.
        jobs: the ids.
        values: the metric of each.
        test: test/acc of each that has been tested.
        seconds: how long each took.
        status: done or pruned for jobs with a value; else failed or interrupted.
        error: the last line of the first error.
    """

    settings: dict[str, str]
    jobs: list[str] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    test: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    status: str = "done"
    error: str | None = None

    @property
    def mean(self) -> float:
        """Of the values."""
        return statistics.fmean(self.values) if self.values else math.nan


@dataclass
class Leaderboard:
    """The table of a sweep.

    Attributes:
        sweep: its id.
        metric: what the rows are ordered by.
        keys: settings that differ.
        rows: the best first, then pruned ones, then those without a value.
        importance: share of each setting in the spread of the metric, after Optuna; empty where too few jobs are done.
        winner: the command line of the best row's first job.
    """

    sweep: str
    metric: str
    keys: list[str]
    rows: list[Row]
    importance: dict[str, float]
    winner: str | None

    @property
    def headings(self) -> list[str]:
        """Of the table's columns."""
        return ["status", self.metric, "std", "n", "test/acc", "seconds", "jobs", *self.keys]

    def cells(self, row: Row) -> list[str]:
        """A row as it is shown."""
        spread = f"{statistics.stdev(row.values):.4f}" if len(row.values) > 1 else ""
        return [
            row.status,
            f"{row.mean:.4f}" if row.values else "",
            spread,
            str(len(row.values)) if row.values else "",
            f"{statistics.fmean(row.test):.4f}" if row.test else "",
            f"{statistics.fmean(row.seconds):.1f}" if row.seconds else "",
            " ".join(job.rpartition("-")[2] for job in row.jobs),
            *(brief(row.settings.get(key, "")) for key in self.keys),
        ]

    def as_table(self, width: int) -> Table:
        """For a terminal of so many characters."""
        shown = [self.cells(row) for row in self.rows]
        columns = {heading: [cells[number] for cells in shown] for number, heading in enumerate(self.headings)}
        if set(columns["n"]) <= {"", "1"}:
            del columns["n"]
        settings = {key: [row.settings.get(key, "") for row in self.rows] for key in self.keys}
        rest = {heading: cells for heading, cells in columns.items() if heading not in self.keys}
        return make_table(f"sweep {self.sweep}", rest, settings, width)

    def as_markdown(self) -> str:
        """For a file."""
        lines = [f"# {self.sweep}", "", f"| {' | '.join(self.headings)} |", f"|{' --- |' * len(self.headings)}"]
        lines += [
            f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in self.cells(row))} |" for row in self.rows
        ]
        if failed := [row for row in self.rows if row.error]:
            lines += ["", *(f"- {' '.join(row.jobs)}: {row.error}" for row in failed)]
        if self.importance:
            shares = (f"{key} {share:.2f}" for key, share in self.importance.items())
            lines += ["", f"Share of each setting in the spread of {self.metric}: {', '.join(shares)}."]
        if self.winner:
            lines += ["", "The best again:", "", f"    {self.winner}"]
        return "\n".join(lines) + "\n"

    def as_json(self) -> str:
        """For programs."""
        rows = [{**vars(row), "mean": row.mean if row.values else None} for row in self.rows]
        return json.dumps({**vars(self), "rows": rows}, indent=2)

    def as_csv(self) -> str:
        """For spreadsheets."""
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(self.headings)
        writer.writerows(self.cells(row) for row in self.rows)
        return text.getvalue()


def make_leaderboard(sweep: Sweep) -> Leaderboard:
    """Rank the jobs of a sweep."""
    records = sweep.records()
    metric = next((r.values["best"]["metric"] for r in records if r.values["best"]["metric"]), None)
    name, best_is_low = (metric, sweep.values["mode"] == "min") if metric else ("train/loss", True)
    settings = [record.typed for record in records]
    keys = sorted(differing(settings))
    rows: dict[tuple[Any, ...], Row] = {}
    for record, all_settings in zip(records, settings, strict=True):
        run = record.values
        shown = {key: all_settings[key] for key in keys if key in all_settings and key != "seed"}
        value = run["best"]["value"] if metric else run["metrics"].get("train/loss")
        status = "pruned" if run.get("pruned_in_epoch") else record.status
        measured = value is not None and status in ("done", "pruned")
        row = rows.setdefault((status, *sorted(shown.items())), Row(shown, status=status))
        row.jobs.append(run["id"])
        if measured:
            row.values.append(value)
        if "test/acc" in run["metrics"]:
            row.test.append(run["metrics"]["test/acc"])
        if run["duration_s"] is not None:
            row.seconds.append(run["duration_s"])
        row.error = row.error or run["error"]

    def rank(row: Row) -> tuple[int, float]:
        order = {"done": 0, "pruned": 1}.get(row.status, 2)
        return order, (row.mean if best_is_low else -row.mean) if row.values else 0.0

    ordered = sorted(rows.values(), key=rank)
    first = ordered[0].jobs[0] if ordered and ordered[0].status == "done" else None
    winner = next((record.values["command"] for record in records if record.values["id"] == first), None)
    shares = _importance(records, settings, [key for key in keys if key != "seed"], metric, best_is_low)
    return Leaderboard(sweep.values["id"], name, [key for key in keys if key != "seed"], ordered, shares, winner)


def leave_leaderboard(sweep: Sweep) -> None:
    """Write the table into the sweep's directory."""
    if sweep.records():
        write(sweep.directory / TABLE, make_leaderboard(sweep).as_markdown())


def _importance(
    records: Sequence[Record], settings: Sequence[dict[str, str]], keys: Sequence[str], metric: str | None, low: bool
) -> dict[str, float]:
    """Each setting's share in the spread of the metric (Optuna's PED-ANOVA), the largest first."""
    points = [
        (one, record.values["best"]["value"])
        for one, record in zip(settings, records, strict=True)
        if metric and record.values["best"]["value"] is not None and all(key in one for key in keys)
    ]
    if len(points) < _ENOUGH or not keys or len({value for _, value in points}) < 2:
        return {}
    import optuna
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

    distributions: dict[str, BaseDistribution] = {}
    columns: dict[str, list[Any]] = defaultdict(list)
    for key in keys:
        words = [one[key] for one, _ in points]
        numbers = [_number(word) for word in words]
        if len(set(words)) > 2 and all(number is not None for number in numbers):
            lowest, highest = min(n for n in numbers if n is not None), max(n for n in numbers if n is not None)
            distributions[key] = FloatDistribution(lowest, highest, log=lowest > 0 and highest / lowest > 30)
            columns[key] = list(numbers)
        else:
            distributions[key], columns[key] = CategoricalDistribution(sorted(set(words))), list(words)
    varied = [key for key in keys if len(set(columns[key])) > 1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study(direction="minimize" if low else "maximize")
        for number, (_, value) in enumerate(points):
            params = {key: columns[key][number] for key in varied}
            kinds = {key: distributions[key] for key in varied}
            study.add_trial(optuna.trial.create_trial(params=params, distributions=kinds, value=value))
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None
