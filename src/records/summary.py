"""The facts about a run, derived from its record here and nowhere else: what tables, cards, pages and filters show."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from src.errors import RunNotFound, suggest
from src.records.metrics import mode_of
from src.records.record import Record
from src.records.settings import as_word, comparable, differing_names, settings_of

# The order of metrics; the best values come before them, all others after them.
_ORDER = ("val/acc", "test/acc", "val/loss", "test/loss", "train/acc", "train/loss")
# Of the environment: what is no property of the machine or the installation.
_OF_THE_PROCESS = ("pid", "pid_started", "pid_namespace", "requirements_sha256", "packages")


@dataclass(frozen=True)
class Summary:
    """A run at a glance."""

    id: str  # a copy of the run's directory has the same
    name: str | None
    tags: list[str]
    note: str | None
    sweep: str | None  # the id of the sweep whose job it is
    command: str
    status: str  # running, done, pruned, failed or interrupted
    ended: str  # the status, of a pruned trial with the epoch
    error: str | None
    warnings: list[str]
    started: str  # ISO 8601
    duration: float | None  # seconds over all sessions; None before it has ended
    monitor: str | None  # the metric that selects the best checkpoint
    lower_is_better: bool  # whether the lowest value of monitor is the best
    best: float | None  # value of monitor in the best checkpoint
    best_epoch: int | None  # from 0
    metrics: dict[str, float | None]  # best/<monitor>, and the last values by their plain names; None: NaN or Inf
    speed: float | None  # training samples per second
    threads: str  # CPU threads of its processes: "2", or "2 for 90% of the samples, 1 for 10%"
    code: str | None  # the commit, and whether there were changes since; None outside a repository

    @property
    def title(self) -> str:
        """The name, else the id."""
        return self.name or self.id

    @property
    def age(self) -> float:
        """Seconds since it began."""
        return (datetime.now(UTC) - datetime.fromisoformat(self.started)).total_seconds()

    @property
    def test_metric(self) -> str | None:
        """The metric of the test that is shown: ``test/acc``, or what corresponds to the monitored one."""
        counterpart = [self.monitor.replace("val", "test", 1)] if self.monitor else []
        return next(
            (name for name in ("test/acc", *counterpart, "test/loss", "test_loss") if name in self.metrics), None
        )

    @property
    def best_line(self) -> dict[str, str]:
        """``best/<monitor>`` to its value and epoch as text; empty where there is none."""
        if self.best is None or self.best_epoch is None:
            return {}
        return {f"best/{self.monitor}": f"{self.best:.4f} in epoch {self.best_epoch + 1}"}

    @property
    def outcome(self) -> str:
        """How it ended, with its best value if there is one."""
        return self.ended + "".join(f", {name} {value}" for name, value in self.best_line.items())

    @property
    def rank(self) -> tuple[bool, float]:
        """Sorts runs of one monitor by their best values, the best first and those without one last."""
        value = self.best or 0.0
        return self.best is None, value if self.lower_is_better else -value


def summary(record: Record) -> Summary:
    """Summarize a run."""
    run, status = record.values, record.status
    monitor, best = run["best"]["metric"], run["best"]["value"]
    return Summary(
        **{name: run[name] for name in ("id", "name", "tags", "sweep", "command", "error", "started")},
        note=run.get("note"),
        status=status,
        ended=f"pruned in epoch {run['pruned_in_epoch']}" if status == "pruned" else status,
        warnings=[warning["text"] for warning in run.get("warnings", [])],
        duration=run["duration_s"],
        monitor=monitor,
        lower_is_better=run["config"].get("mode") == "min",
        best=best,
        best_epoch=run["best"]["epoch"],
        metrics=({} if best is None else {f"best/{monitor}": best}) | run["metrics"],
        speed=run.get("samples_per_s"),
        threads=_threads(run),
        code=_code(run.get("git")),
    )


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
    """The whole record, with the run's directory and the status and metrics of its summary, for programs."""
    run = summary(record)
    return {**record.values, "status": run.status, "metrics": run.metrics, "directory": str(record.directory)}


def metric_names(runs: Iterable[Summary]) -> list[str]:
    """The metrics of these runs, in the order in which tables show them: the best values first."""
    found = {name for run in runs for name in run.metrics}
    best = sorted(name for name in found if name.startswith("best/"))
    known = [name for name in _ORDER if name in found]
    return [*best, *known, *sorted(found - {*best, *known})]


def differing(
    records: Sequence[Record], settings: Callable[[Record], Mapping[str, Any]] = settings_of
) -> dict[str, list[str]]:
    """The settings in which runs differ: name to the value in each run as on a command line, empty where it has none."""
    found = [settings(record) for record in records]
    names = differing_names(found)
    return {name: [as_word(one[name]) if name in one else "" for one in found] for name in names}


def environment_of(record: Record) -> dict[str, Any]:
    """What is known of the environment, by name, each package's version too, without what identifies the process."""
    found = {**record.values["environment"], **record.values["environment"].get("packages", {})}
    return {name: value for name, value in found.items() if name not in _OF_THE_PROCESS and value is not None}


def is_low(metric: str, records: Sequence[Record] = ()) -> bool:
    """Whether the lowest value of a metric is the best, as the latest of these runs that monitors it says, or its name."""
    modes = [run["mode"] for run in (record.values["config"] for record in records) if run.get("monitor") == metric]
    return (modes[-1] if modes else mode_of(metric)) == "min"


def find_best(records: Sequence[Record], metric: str | None = None) -> Record:
    """The finished run with the best value of a metric, among those on the data set of the latest that has it.

    It is ranked by ``best/<metric>`` where it was monitored, else by its last value.

    Args:
        records: oldest first.
        metric: by default the one that the latest finished run monitors which monitors any.

    Raises:
        RunNotFound: no finished run has the metric.
    """
    if metric is None:
        monitors = [record.values["best"]["metric"] for record in records if record.is_finished]
        metric = next((name for name in reversed(monitors) if name), "val/acc")
    metrics = {record: summary(record).metrics for record in records}
    scores = {record: found.get(f"best/{metric}", found.get(metric)) for record, found in metrics.items()}
    rated = [record for record, score in scores.items() if record.is_finished and score is not None]
    if not rated:
        known = {name for found in metrics.values() for name in found}
        hint = suggest(metric, known) or f": name one that was logged ({', '.join(sorted(known)) or 'there is none'})."
        raise RunNotFound(f"no finished run has a {metric!r}{hint}")
    return (min if is_low(metric, records) else max)(comparable(rated), key=lambda record: scores[record] or 0.0)
