"""Summaries of runs, computed from their records, for tables, cards, pages and filters."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from src.errors import RunNotFound, suggest
from src.formatting import figure
from src.records.metrics import mode_of
from src.records.record import Record
from src.records.settings import as_word, comparable, differing_names, settings_of

# Order of the metrics in tables, after the best values and before all others.
_ORDER = ("val/acc", "test/acc", "val/loss", "test/loss", "train/acc", "train/loss")
# Entries of the environment that are not properties of the machine or the installation.
_OF_THE_PROCESS = ("pid", "pid_started", "pid_namespace", "requirements_sha256", "packages")


@dataclass(frozen=True)
class Summary:
    """Summary of a run."""

    id: str  #: not unique, as a copy of the run's directory has the same id
    name: str | None
    tags: list[str]
    note: str | None
    sweep: str | None  #: id of the sweep that the run is a job of
    command: str
    status: str  #: running, done, pruned, failed or interrupted
    ended: str  #: the status, for a pruned trial with the epoch
    error: str | None
    warnings: list[str]
    started: str  #: ISO 8601
    duration: float | None  #: seconds over all sessions; None while it is running
    monitor: str | None  #: the metric that selects the best checkpoint
    lower_is_better: bool  #: whether the lowest value of monitor is the best
    best: float | None  #: value of monitor of the best checkpoint
    best_epoch: int | None  #: from 0
    metrics: dict[str, float | None]  #: best/<monitor>, and the last value of each metric; None for NaN and Inf
    epoch: int | None  #: number of the epoch in progress, or of the last one, from 1; None if not recorded
    step: int | None  #: number of completed optimizer steps; None if not recorded
    epochs: int | None  #: number of epochs of the training; None if it is not limited
    remaining: float | None  #: estimated seconds until the end of the training; None unless it is running
    speed: float | None  #: training samples per second
    threads: str  #: CPU threads per process, as in "2" or "2 for 90% of the samples, 1 for 10%"
    imported: str | None  #: program it was imported from, mlflow or tensorboard; None for a run of this project
    code: str | None  #: the commit, and whether there were uncommitted changes; None outside a repository

    @property
    def title(self) -> str:
        """The name of the run, or its id if it has none."""
        return self.name or self.id

    @property
    def age(self) -> float:
        """Seconds since the start of the run."""
        return (datetime.now(UTC) - datetime.fromisoformat(self.started)).total_seconds()

    @property
    def test_metric(self) -> str | None:
        """The test metric to show, which is ``test/acc`` if it was logged, else the counterpart of ``monitor``, else the test loss."""
        counterpart = [self.monitor.replace("val", "test", 1)] if self.monitor else []
        return next(
            (name for name in ("test/acc", *counterpart, "test/loss", "test_loss") if name in self.metrics), None
        )

    def value_of(self, metric: str) -> float | None:
        """The best value of a metric if it is monitored, else its last; None if it was not logged, or is not finite."""
        return self.metrics.get(f"best/{metric}", self.metrics.get(metric))

    @property
    def best_line(self) -> dict[str, str]:
        """``best/<monitor>`` mapped to its value and epoch, if known, as text; empty if there is no best value."""
        if self.best is None:
            return {}
        epoch = "" if self.best_epoch is None else f" in epoch {self.best_epoch + 1}"
        return {f"best/{self.monitor}": f"{figure(self.best)}{epoch}"}

    @property
    def outcome(self) -> str:
        """How the run ended, with its best value if there is one."""
        return self.ended + "".join(f", {name} {value}" for name, value in self.best_line.items())

    @property
    def rank(self) -> tuple[bool, float]:
        """Sort key of runs with the same monitor; the best value comes first, runs without one last."""
        value = self.best or 0.0
        return self.best is None, value if self.lower_is_better else -value


def metrics_of(record: Record) -> dict[str, float | None]:
    """``Summary.metrics`` alone, in a fraction of the time."""
    run = record.values
    best = run["best"]["value"]
    return ({} if best is None else {f"best/{_monitor(run)}": best}) | run["metrics"]


def _monitor(run: Mapping[str, Any]) -> str | None:
    monitor: str | None = run["best"]["metric"] or run["config"].get("monitor")  # before the first checkpoint
    return monitor


def summary(record: Record) -> Summary:
    """Summarize a run."""
    run, status = record.values, record.status
    return Summary(
        **{name: run[name] for name in ("id", "name", "tags", "sweep", "command", "error", "started")},
        note=run.get("note"),
        status=status,
        ended=f"pruned in epoch {run['pruned_in_epoch']}" if status == "pruned" else status,
        warnings=[warning["text"] for warning in run.get("warnings", [])],
        duration=run["duration_s"],
        monitor=_monitor(run),
        lower_is_better=run["config"].get("mode") == "min",
        best=run["best"]["value"],
        best_epoch=run["best"]["epoch"],
        metrics=metrics_of(record),
        **_progress(record, status),
        speed=run.get("samples_per_s"),
        threads=_threads(run),
        imported=run["imported"]["kind"] if record.is_imported else None,
        code=_code(run.get("git")),
    )


def _progress(record: Record, status: str) -> dict[str, Any]:
    """The epoch and step of a run, and the time it needs for the remaining ones at the mean speed of its session."""
    run = record.values
    progress: Mapping[str, Any] | None = run.get("progress")
    trainer = run["config"].get("trainer") or {}
    if progress is None:  # the first epoch is not over, or the run was made by an earlier version
        epochs = trainer.get("max_epochs")
        is_first = status == "running" and not run.get("resumed")
        return {
            "epoch": 1 if is_first else None,
            "step": None,
            "epochs": epochs if isinstance(epochs, int) and epochs > 0 else None,
            "remaining": None,
        }
    completed, epochs, seconds = progress["epochs_completed"], progress["max_epochs"], progress["seconds_per_epoch"]
    epoch = min(completed + 1, epochs) if epochs else completed + 1
    remaining = None
    if status == "running" and epochs and seconds:
        now, at = datetime.now(UTC), datetime.fromisoformat(progress["at"])
        session = [record.started, *(datetime.fromisoformat(one["at"]) for one in run.get("resumed", []))][-1]
        if at >= session:  # a resumed run may run on another machine
            remaining = max(0.0, (epochs - completed) * seconds - (now - at).total_seconds())
            if limit := trainer.get("max_minutes"):
                remaining = min(remaining, max(0.0, limit * 60 - (now - session).total_seconds()))
    return {"epoch": epoch, "step": progress["step"], "epochs": epochs, "remaining": remaining}


def _threads(run: Mapping[str, Any]) -> str:
    samples: Mapping[str, int] = run.get("samples_by_threads") or {}
    if run["environment"].get("accelerator") != "cpu" or not samples:
        return ""
    shares = {threads: f"{count / sum(samples.values()):.0%}" for threads, count in samples.items()}
    (most, share), *others = sorted(shares.items(), key=lambda item: -samples[item[0]])
    if not others:
        return most
    return ", ".join([f"{most} for {share} of the samples", *(f"{threads} for {share}" for threads, share in others)])


def _code(git: Mapping[str, Any] | None) -> str | None:
    if not git:
        return None
    return (git["commit"] or "unknown commit") + (" with changes" if git["dirty"] else "")


def plain_record(record: Record) -> dict[str, Any]:
    """The record with the run's directory, and the status and metrics of its summary, for JSON output."""
    run = summary(record)
    return {**record.values, "status": run.status, "metrics": run.metrics, "directory": str(record.directory)}


def metric_names(runs: Iterable[Summary]) -> list[str]:
    """The metrics of these runs in the order of tables, best values first."""
    found = {name for run in runs for name in run.metrics}
    best = sorted(name for name in found if name.startswith("best/"))
    known = [name for name in _ORDER if name in found]
    return [*best, *known, *sorted(found - {*best, *known})]


def differing(
    records: Sequence[Record], settings: Callable[[Record], Mapping[str, Any]] = settings_of
) -> dict[str, list[str]]:
    """The settings in which runs differ: name to the value in each run as on a command line, empty if the run has none."""
    found = [settings(record) for record in records]
    names = differing_names(found)
    return {name: [as_word(one[name]) if name in one else "" for one in found] for name in names}


def environment_of(record: Record) -> dict[str, Any]:
    """The environment of a run by name, including package versions, without the entries that identify the process."""
    found = {**record.values["environment"], **record.values["environment"].get("packages", {})}
    return {name: value for name, value in found.items() if name not in _OF_THE_PROCESS and value is not None}


def is_low(metric: str, records: Sequence[Record] = ()) -> bool:
    """Whether lower values of a metric are better, by the mode of the latest of these runs that monitors it, else by its name."""
    modes = [run["mode"] for run in (record.values["config"] for record in records) if run.get("monitor") == metric]
    return (modes[-1] if modes else mode_of(metric)) == "min"


def find_best(records: Sequence[Record], metric: str | None = None, *, among: str = "") -> Record:
    """The finished run with the best value of a metric, among the runs on the same data set as the latest with this metric.

    Runs are ranked by ``best/<metric>`` if they monitored it, else by the last value.

    Args:
        records: the runs, oldest first.
        metric: by default the metric monitored by the latest finished run that monitors one.
        among: how the runs were chosen, for the error message, such as `` that matches 'seed==1'``.

    Raises:
        RunNotFound: no finished run has the metric.
    """
    if not any(record.is_finished for record in records):
        raise RunNotFound(f"there is no finished run{among}{'' if among else ' yet; python -m src.train makes one'}.")
    if metric is None:
        monitors = [record.values["best"]["metric"] for record in records if record.is_finished]
        metric = next((name for name in reversed(monitors) if name), "val/acc")
    runs = {record: summary(record) for record in records}
    scores = {record: run.value_of(metric) for record, run in runs.items()}
    rated = [record for record, score in scores.items() if record.is_finished and score is not None]
    if not rated:
        known = {name for record, run in runs.items() if record.is_finished for name in run.metrics}
        hint = suggest(metric, known) or f": name one that was logged ({', '.join(sorted(known)) or 'there is none'})."
        raise RunNotFound(f"no finished run{among} has a {metric!r}{hint}")
    return (min if is_low(metric, records) else max)(comparable(rated), key=lambda record: scores[record] or 0.0)
