"""Leaderboard of a sweep: its jobs ranked by the metric, replicates in one row, and the importance of the settings."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console

from src.files import write
from src.formatting import figure
from src.records.baseline import Baseline, find_baseline
from src.records.pareto import is_on_front
from src.records.settings import REPLICATES, data_of
from src.records.summary import Summary, differing, summary
from src.records.sweep import TABLE, Sweep
from src.sweeps.importance import Importance, explained_variance, ped_anova
from src.views.table import Column, Forms, brief, difference, forms_of

# Maximum number of rows of a Pareto front whose commands are printed: both ends, and others evenly between them.
_MOST = 5


@dataclass
class Row:
    """Replicates: jobs that differ only in their seed or fold.

    Attributes:
        settings: settings that differ within the sweep, key to value as on the command line.
        jobs: ids of the jobs.
        values: metric of each job.
        test: test metric of each tested job.
        seconds: duration of each job.
        status: done or pruned for jobs with a value; else failed or interrupted.
        error: the last line of the first error.
        vs_baseline: mean of the values minus that of the baseline's replicates; None if they are not compared.
        others: of a search over several objectives, name to the values of each objective besides the metric.
        front: whether the means of all objectives are on the Pareto front of the done rows.
        command: command line of the first job.
    """

    settings: dict[str, str]
    jobs: list[str] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    test: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    status: str = "done"
    error: str | None = None
    vs_baseline: float | None = None
    others: dict[str, list[float]] = field(default_factory=dict)
    front: bool = False
    command: str = ""

    @property
    def mean(self) -> float:
        """Mean of the values."""
        return statistics.fmean(self.values) if self.values else math.nan

    @property
    def other_means(self) -> list[float | None]:
        """Mean of each of the other objectives; None without a value."""
        return [statistics.fmean(values) if values else None for values in self.others.values()]


@dataclass
class Leaderboard:
    """Leaderboard of a sweep.

    Attributes:
        sweep: id of the sweep.
        metric: metric by which rows are ranked: ``best/<monitor>``, or train/loss if nothing was monitored; the first objective
            of a search over several.
        test_metric: test metric that is shown, such as test/acc.
        keys: settings that differ.
        rows: for each data set, ranked rows, those of the Pareto front first, then pruned jobs, then jobs without a value.
        importance: importance of each setting for the metric; None if too few jobs are done.
        winner: command line of the first job of the best row; None if jobs have different data sets and cannot be compared, or
            there are several objectives.
        objectives: of a search over several objectives, metric to mode, ``min`` or ``max``; else empty.
        other_importance: importance of each setting for the other objectives.
    """

    sweep: str
    metric: str
    test_metric: str
    keys: list[str]
    rows: list[Row]
    importance: Importance | None
    winner: str | None
    objectives: dict[str, str] = field(default_factory=dict)
    other_importance: dict[str, Importance] = field(default_factory=dict)

    @property
    def front(self) -> list[Row]:
        """The rows of the Pareto front, the best of the first objective first."""
        return [row for row in self.rows if row.front]

    @property
    def importances(self) -> dict[str, Importance]:
        """The importance for each metric for which there is one."""
        return ({self.metric: self.importance} if self.importance else {}) | self.other_importance

    def means(self, row: Row) -> dict[str, float | None]:
        """The mean of each objective of a row."""
        return dict(zip(self.objectives, [row.mean, *row.other_means], strict=True))

    def point(self, row: Row) -> str:
        """The objectives of a row, as ``best/val/acc 0.978, latency_ms 0.031``."""
        return ", ".join(f"{name} {figure(value)}" for name, value in self.means(row).items())

    @property
    def headings(self) -> list[str]:
        """Headings of the columns."""
        compared = ["vs baseline"] if self._has_baseline else []
        front, others = (["front"], [*self.objectives][1:]) if self.objectives else ([], [])
        metrics = [self.metric, "std", "n", *others, *compared, self.test_metric]
        return ["status", *front, *metrics, "seconds", "jobs", *self.keys]

    @property
    def _has_baseline(self) -> bool:
        return any(row.vs_baseline is not None for row in self.rows)

    def cells(self, row: Row) -> list[str]:
        """Formatted cells of a row."""
        spread = figure(statistics.stdev(row.values)) if len(row.values) > 1 else ""
        return [
            row.status,
            *(["yes" if row.front else ""] if self.objectives else []),
            figure(row.mean) if row.values else "",
            spread,
            str(len(row.values)) if row.values else "",
            *(figure(mean) for mean in row.other_means),
            *([difference(row.vs_baseline)] if self._has_baseline else []),
            figure(statistics.fmean(row.test)) if row.test else "",
            f"{statistics.fmean(row.seconds):.1f}" if row.seconds else "",
            " ".join(job.rpartition("-")[2] for job in row.jobs),
            *(brief(row.settings.get(key, "")) for key in self.keys),
        ]

    def as_table(self) -> Forms:
        """The table for a terminal, with the error of jobs without a value."""
        shown = [self.cells(row) for row in self.rows]
        columns = {heading: [cells[number] for cells in shown] for number, heading in enumerate(self.headings)}
        if set(columns["n"]) <= {"", "1"}:
            del columns["n"]
        ranks = {
            "status": 0,
            "front": 0,
            **dict.fromkeys([self.metric, *self.objectives], 0),
            "std": 40,
            "n": 60,
            "vs baseline": 38,
            self.test_metric: 70,
            "seconds": 80,
            "jobs": 45,
        }
        rest = [
            Column(heading, cells, ranks[heading], least=8 if heading == "jobs" else None, enough=24)
            for heading, cells in columns.items()
            if heading not in self.keys
        ]
        rest.insert(1, Column("details", [row.error or "" for row in self.rows], 30, least=24, enough=24))
        return forms_of(rest, {key: [row.settings.get(key, "") for row in self.rows] for key in self.keys})

    def as_markdown(self) -> str:
        """Format as a Markdown table."""
        lines = [f"# {self.sweep}", "", f"| {' | '.join(self.headings)} |", f"|{' --- |' * len(self.headings)}"]
        lines += [
            f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in self.cells(row))} |" for row in self.rows
        ]
        if failed := [row for row in self.rows if row.error]:
            lines += ["", *(f"- {' '.join(row.jobs)}: {row.error}" for row in failed)]
        for metric, importance in self.importances.items():
            lines += ["", f"Importance for {metric}, {importance}."]
        if self.front:
            lines += ["", f"The Pareto front of {', '.join(self.objectives)} again:", ""]
            lines += [line for row in self.front for line in (f"    # {self.point(row)}", f"    {row.command}")]
        if self.winner:
            lines += ["", "The best again:", "", f"    {self.winner}"]
        return "\n".join(lines) + "\n"

    def as_plain(self) -> dict[str, Any]:
        """Convert to plain data, for JSON output."""
        rows = [{**vars(row), "mean": row.mean if row.values else None} for row in self.rows]
        importance = self.importance and asdict(self.importance)
        others = {name: asdict(one) for name, one in self.other_importance.items()}
        return {**vars(self), "rows": rows, "importance": importance, "other_importance": others}


def make_leaderboard(sweep: Sweep, baseline: Baseline | None = None) -> Leaderboard:
    """Rank the jobs of a sweep.

    Args:
        sweep: the sweep.
        baseline: the rows on its data are compared with it, if they have its metric.
    """
    records = sweep.records()
    runs = [summary(record) for record in records]
    monitor = next((run.monitor for run in runs if run.monitor), None)
    metric, best_is_low = (f"best/{monitor}", sweep.values["mode"] == "min") if monitor else ("train/loss", True)
    objectives = {f"best/{name}" if name == monitor else name: mode for name, mode in sweep.objectives.items()}
    if objectives:
        metric, best_is_low = next((name, mode == "min") for name, mode in objectives.items())
    others = [*objectives][1:]
    test_metric = next((run.test_metric for run in runs if run.test_metric), "test/acc")
    settings = differing(records, lambda record: record.typed)
    keys = sorted(settings.keys() - {*REPLICATES})
    rows: dict[tuple[Any, ...], Row] = {}
    for number, run in enumerate(runs):
        shown = {key: settings[key][number] for key in keys if settings[key][number]}
        empty = Row(shown, status=run.status, others={name: [] for name in others}, command=run.command)
        row = rows.setdefault((run.status, *sorted(shown.items())), empty)
        row.jobs.append(run.id)
        if (value := run.metrics.get(metric)) is not None and run.status in ("done", "pruned"):
            row.values.append(value)
        for name in others:
            if (other := run.metrics.get(name)) is not None and run.status == "done":
                row.others[name].append(other)
        if (test := run.metrics.get(test_metric)) is not None:
            row.test.append(test)
        if run.duration is not None:
            row.seconds.append(run.duration)
        row.error = row.error or run.error

    data = {run.id: data_of(record) for run, record in zip(runs, records, strict=True)}
    is_one_data_set = len(set(data.values())) == 1
    if objectives and is_one_data_set:
        done = [row for row in rows.values() if row.status == "done" and row.values]
        points = [[row.mean, *row.other_means] for row in done]
        for row, front in zip(done, is_on_front(points, [*objectives.values()]), strict=True):
            row.front = front

    def rank(row: Row) -> tuple[str, int, bool, float]:
        order = {"done": 0, "pruned": 1}.get(row.status, 2)
        value = (row.mean if best_is_low else -row.mean) if row.values else 0.0
        return data[row.jobs[0]], order, not row.front, value

    ordered = sorted(rows.values(), key=rank)
    if baseline and baseline.metric == metric:
        of_id = {run.id: record for run, record in zip(runs, records, strict=True)}
        for row in ordered:
            if row.status == "done" and row.values:
                row.vs_baseline = baseline.difference(of_id[row.jobs[0]], row.mean)
    has_winner = is_one_data_set and ordered[0].status == "done" and not objectives
    winner = ordered[0].command if has_winner else None
    varied = {key: settings[key] for key in keys}
    importance = {
        name: found
        for name, low in {metric: best_is_low, **{name: objectives[name] == "min" for name in others}}.items()
        if (found := _importance(sweep, runs, name, varied, low))
    }
    first = importance.pop(metric, None)
    return Leaderboard(sweep.values["id"], metric, test_metric, keys, ordered, first, winner, objectives, importance)


def print_front(board: Leaderboard, console: Console) -> None:
    """Print the size of the Pareto front of a search, and for some of its rows the objectives and the command."""
    rows = [row for row in board.rows if row.status == "done"]
    if not board.objectives or not rows:
        return
    front = board.front
    objectives = " and ".join(f"{name} ({mode})" for name, mode in board.objectives.items())
    text = f"Pareto front of {objectives}: {len(front)} of {len(rows)} configurations"
    count = min(len(front), _MOST)
    shown = [front[round(number * (len(front) - 1) / max(1, count - 1))] for number in range(count)]
    if count < len(front):
        text += f", of which {count}"
    console.print(f"{text}:" if shown else text, markup=False, soft_wrap=True)
    for row in shown:
        console.print(f"  {board.point(row)}\n    {row.command}", markup=False, soft_wrap=True)


def leave_leaderboard(sweep: Sweep) -> None:
    """Write the leaderboard to the sweep's directory."""
    if sweep.records():
        write(sweep.directory / TABLE, make_leaderboard(sweep, find_baseline()).as_markdown())


def _importance(
    sweep: Sweep, runs: Sequence[Summary], metric: str, settings: Mapping[str, Sequence[str]], low: bool
) -> Importance | None:
    """Explained variance of the done jobs for a grid; PED-ANOVA, including pruned trials, for a search."""
    search = sweep.values["search"]
    is_grid = search is None or search["sampler"] == "grid"
    statuses = ("done",) if is_grid else ("done", "pruned")
    found = {number: run.metrics.get(metric) for number, run in enumerate(runs) if run.status in statuses}
    measured = {number: value for number, value in found.items() if value is not None and math.isfinite(value)}
    columns = {key: [words[number] for number in measured] for key, words in settings.items()}
    levels = {key: words for key, words in columns.items() if len(set(words)) > 1}
    values = list(measured.values())
    return explained_variance(levels, values) if is_grid else ped_anova(levels, values, low_is_better=low)
