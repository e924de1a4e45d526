"""Summary of a run, printed when it ends."""

import os
import shlex
import shutil
import sys
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from src.formatting import figure
from src.launching.logs import LOG_NAME
from src.paths import ROOT, shown
from src.records.baseline import find_baseline
from src.records.find import find_before
from src.records.record import Record
from src.records.settings import data_of
from src.records.summary import differing, summary
from src.views.table import STATUS_STYLE, difference

# Maximum number of settings listed as changed since the previous run.
_CHANGES = 4


def _is_active() -> bool:
    """Whether typing ``python`` would start this interpreter."""
    found = shutil.which("python")
    return found is not None and os.path.abspath(found) == os.path.abspath(sys.executable)


def print_card(record: Record, console: Console | None = None) -> None:
    """Print how a run ended, its best metrics, its directory and the next commands."""
    run, console = summary(record), console or Console(highlight=False)
    rows = Table.grid(padding=(0, 2))
    rows.add_row("status", Text(run.ended, style=STATUS_STYLE[run.status]))
    if run.step is not None and run.status in ("interrupted", "failed"):
        rows.add_row(
            "stopped", f"in epoch {run.epoch}{f' of {run.epochs}' if run.epochs else ''}, after step {run.step:,}"
        )
    for name, best in run.best_line.items():
        rows.add_row(Text(name), Text(best))
    if (metric := run.test_metric) and (test := run.metrics[metric]) is not None:
        rows.add_row(Text(metric), f"{figure(test)} with {'the last' if run.best is None else 'the best'} weights")
    if run.speed and run.duration is not None:  # None if the record could not be closed
        rows.add_row("speed", f"{run.speed:,.0f} samples/s, {run.duration:.1f} s in all")
    if run.threads:
        rows.add_row("threads", run.threads)
    if record.is_finished and (earlier := find_before(record)) and data_of(earlier) == data_of(record):
        rows.add_row(f"compared with {summary(earlier).title}", Text(_compared(earlier, record)))
    if (baseline := find_baseline()) and (found := baseline.difference(record)) is not None:
        rows.add_row("vs baseline", Text(f"{baseline.metric} {difference(found)} ({baseline.description})"))
    for warning in run.warnings:
        rows.add_row("warning", Text(warning, style="yellow"))
    rows.add_row("run", Text(shown(record.directory)))
    console.print(Panel(rows, title=run.id, title_align="left", expand=False))
    console.print("next:", *next_commands(record), sep="\n  ", soft_wrap=True, markup=False)


def _compared(earlier: Record, record: Record) -> str:
    """Compare a run with an earlier one on the same data set: the monitored metric and the settings."""
    run = summary(record)
    metric = f"best/{run.monitor}" if run.monitor else "train/loss"
    one, other = summary(earlier).metrics.get(metric), run.metrics.get(metric)
    varied = differing([earlier, record])
    changes = [f"{name} {old or 'null'} to {new or 'null'}" for name, (old, new) in list(varied.items())[:_CHANGES]]
    if len(varied) > _CHANGES:
        changes.append(f"{len(varied) - _CHANGES} more: python -m src.runs diff")
    reached = "" if one is None or other is None else f"{metric} {difference(other - one)}; "
    return reached + (", ".join(changes) or "the same settings")


def next_commands(record: Record) -> list[str]:
    """Next commands for a run, each ready to be pasted in the current directory."""

    def quoted(path: Path) -> str:
        return shlex.quote(shown(path, ROOT))  # relative to the project, where the commands run

    id, active = record.values["id"], _is_active()
    python = "python" if active else quoted(Path(sys.executable))
    commands = [f"{python} -m src.dashboard"]
    if record.status == "failed":
        commands = [f"less {quoted(record.directory / LOG_NAME)}"]
    if not record.is_finished and not record.would_fail_again:
        commands.append(f"{python} -m src.train resume={id}")
    elif (
        record.values["best"]["checkpoint"] and summary(record).test_metric
    ):  # a task without a test cannot be evaluated
        commands.insert(0, f"{python} -m src.evaluate {id}")
    prefix = "" if Path.cwd() == ROOT else f"cd {shlex.quote(str(ROOT))} && "
    return [prefix + command for command in commands]
