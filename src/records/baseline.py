"""The baseline: the pinned run with which others are compared, a line in outputs/baseline.txt."""

from collections.abc import Sequence
from dataclasses import dataclass

from src.errors import UserError
from src.files import write
from src.formatting import figure
from src.paths import outputs_dir
from src.records.find import all_runs
from src.records.record import Record
from src.records.replicates import Aggregate, replicates_of
from src.records.settings import data_of
from src.records.summary import summary

BASELINE = "baseline.txt"
# Compared if nothing was monitored, as in leaderboards.
_FALLBACK = "train/loss"


@dataclass(frozen=True)
class Baseline:
    """The baseline.

    Attributes:
        record: the pinned run.
        metric: the metric that is compared: ``best/<monitor>``.
        value: the metric over the replicates of the run.
    """

    record: Record
    metric: str
    value: Aggregate

    @property
    def description(self) -> str:
        """The run and its value: ``wide, 0.9712, the mean of 5 runs``."""
        runs = f", the mean of {self.value.n} runs" if self.value.n > 1 else ""
        return f"{summary(self.record).title}, {figure(self.value.mean)}{runs}"

    def difference(self, record: Record, value: float | None = None) -> float | None:
        """A run's metric minus the mean of the baseline's replicates.

        Args:
            record: the run.
            value: compared in place of the run's own value, such as the mean of its replicates.

        Returns:
            None if the run has another data set, or no value of the metric.
        """
        if value is None:
            value = summary(record).metrics.get(self.metric)
        if value is None or data_of(record) != data_of(self.record):
            return None
        return value - self.value.mean


def pinned_id() -> str | None:
    """The id in the file; None if there is no file, or it is empty."""
    try:
        return (outputs_dir() / BASELINE).read_text(errors="replace").strip()[:200] or None
    except OSError:
        return None


def pin(record: Record) -> None:
    """Make a run the baseline.

    Raises:
        UserError: the run is not done, or has no value to compare.
    """
    run = summary(record)
    if run.status != "done":
        raise UserError(f"{run.id} is {run.ended}: a baseline is a run that is done.")
    if run.metrics.get(_metric(record)) is None:
        raise UserError(
            f"{run.id} has no {_metric(record)}, by which runs would be compared with it: choose another run."
        )
    write(outputs_dir() / BASELINE, f"{run.id}\n")


def unpin() -> None:
    """Remove the baseline, if there is one."""
    (outputs_dir() / BASELINE).unlink(missing_ok=True)


def find_baseline(runs: Sequence[Record] | None = None) -> Baseline | None:
    """The baseline; None if none is pinned, or the pinned run has been removed.

    Args:
        runs: all runs, if they have been read.
    """
    id = pinned_id()
    if id is None:
        return None
    runs = all_runs() if runs is None else runs
    found = [run for run in runs if run.values["id"] == id]
    if not found:
        return None
    record = next((run for run in found if not run.is_copy), found[0])
    metric = _metric(record)
    value = replicates_of(record, runs).metric(metric)
    return Baseline(record, metric, value) if value else None


def removed_message(runs: Sequence[Record]) -> str | None:
    """A message if the pinned run has been removed."""
    id = pinned_id()
    if id is None or any(run.values["id"] == id for run in runs):
        return None
    return f"the baseline {id} has been removed: python -m src.runs baseline RUN pins another, baseline none unpins it."


def _metric(record: Record) -> str:
    monitor = record.values["best"]["metric"]
    return f"best/{monitor}" if monitor else _FALLBACK
