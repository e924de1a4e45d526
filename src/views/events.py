"""Runs and sweeps as the events that notifications are about."""

import socket
from collections import Counter

from src.formatting import duration, figure
from src.notifications import Event
from src.records.record import Record
from src.records.summary import summary
from src.records.sweep import Sweep
from src.views.leaderboard import make_leaderboard


def run_event(record: Record) -> Event:
    """The end of a run: done (also of a pruned trial), failed, nan (failed with a loss or weight that is not finite) or interrupted."""
    run = summary(record)
    kind = "done" if run.status == "pruned" else run.status
    if record.values.get("error_type") == "NonFiniteLoss":
        kind = "nan"
    test = {run.test_metric: run.metrics[run.test_metric]} if run.test_metric else {}
    parts = [run.ended if run.error is None else f"{run.ended}: {run.error.rstrip('.')}"]
    parts += [f"{name} {value}" for name, value in run.best_line.items()]
    parts += [f"{name} {figure(value)}" for name, value in test.items() if value is not None]
    parts += [f"took {duration(run.duration)}"] if run.duration is not None else []
    details = {
        "run": run.id,
        "name": run.name,
        "tags": run.tags,
        "status": run.status,
        "error": run.error,
        "metrics": run.metrics,
        "duration_s": run.duration,
        "command": run.command,
        "directory": str(record.directory),
        "host": socket.gethostname(),
    }
    return Event(kind, f"{_title(run.id, run.name)} {', '.join(parts)}", details)


def sweep_event(sweep: Sweep, status: int) -> Event:
    """The end of a sweep: done, failed if a job failed, or interrupted.

    Args:
        sweep: its record.
        status: the exit status of the command.
    """
    runs = [summary(record) for record in sweep.records()]
    count = Counter(run.status for run in runs)
    kind = "interrupted" if status > 128 else "failed" if status else "done"
    jobs = ", ".join(f"{number} {name}" for name, number in count.most_common()) or "no job has started"
    front = len(make_leaderboard(sweep).front) if sweep.objectives else 0
    rated = [run for run in runs if run.status == "done" and run.best is not None and not sweep.objectives]
    best = min(rated, key=lambda run: run.rank, default=None)
    total = "" if sweep.values["trials"] is None else f" of {sweep.values['trials']}"
    text = f"sweep {sweep.values['id']} {kind}: {jobs}{total}"
    if best:
        text += f", best/{best.monitor} {figure(best.best)} ({best.command.partition('src.train ')[2]})"
    if front:
        text += f", {front} on the Pareto front of {', '.join(sweep.objectives)}"
    details = {
        "sweep": sweep.values["id"],
        "jobs": dict(count),
        "trials": sweep.values["trials"],
        "best": best and {"run": best.id, "metric": best.monitor, "value": best.best, "command": best.command},
        "command": sweep.values["command"],
        "directory": str(sweep.directory),
        "host": socket.gethostname(),
    }
    return Event(kind, text, details)


def _title(id: str, name: str | None) -> str:
    return f"{id} ({name})" if name else id
