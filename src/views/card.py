"""What the terminal shows when a run or a sweep ends."""

import os
import shlex
import shutil
import sys
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from src.launching.logs import LOG_NAME
from src.paths import ROOT, shown
from src.records.find import find_before
from src.records.record import Record
from src.records.settings import as_word, data_of, differing, metrics_of, settings_of, threads_used
from src.views.table import STATUS_STYLE

# Of what was changed since the run before, so many settings are named.
_CHANGES = 4


def _is_active() -> bool:
    """Whether typing ``python`` would start this interpreter."""
    found = shutil.which("python")
    return found is not None and os.path.abspath(found) == os.path.abspath(sys.executable)


def print_card(record: Record, console: Console | None = None) -> None:
    """Print how a run ended, what it reached, where it lies and what to type next."""
    run, console = record.values, console or Console(highlight=False)
    metrics, best = run["metrics"], run["best"]
    rows = Table.grid(padding=(0, 2))
    rows.add_row("status", Text(run["status"], style=STATUS_STYLE[run["status"]]))
    if best["value"] is not None:
        rows.add_row(f"best {best['metric']}", f"{best['value']:.4f} in epoch {best['epoch'] + 1}")
    if "test/acc" in metrics:
        rows.add_row(
            "test/acc",
            f"{metrics['test/acc']:.4f} with {'the best' if best['value'] is not None else 'the last'} weights",
        )
    if run.get("samples_per_s"):
        rows.add_row("speed", f"{run['samples_per_s']:,.0f} samples/s, {run['duration_s']:.1f} s in all")
    if threads := threads_used(record):
        rows.add_row("threads", threads)
    if run["status"] == "done" and (earlier := find_before(record)):
        rows.add_row(f"beside {earlier.values['name'] or earlier.values['id']}", Text(_compared(earlier, record)))
    for warning in run.get("warnings", []):
        rows.add_row("warning", Text(warning["text"], style="yellow"))
    rows.add_row("run", Text(shown(record.directory)))
    console.print(Panel(rows, title=run["id"], title_align="left", expand=False))
    console.print("next:", *next_commands(record), sep="\n  ", soft_wrap=True, markup=False)


def _compared(earlier: Record, record: Record) -> str:
    """How a run's monitored metric, where both were measured on the same data, and its settings differ from an earlier one's."""
    metric = record.values["best"]["metric"] or "train/loss"
    one, other = metrics_of(earlier).get(metric), metrics_of(record).get(metric)
    settings = [settings_of(earlier), settings_of(record)]
    names = differing(settings)
    before, after = ([as_word(values.get(name)) for name in names[:_CHANGES]] for values in settings)
    changes = [f"{name} {old} to {new}" for name, old, new in zip(names, before, after, strict=False)]
    if len(names) > _CHANGES:
        changes.append(f"{len(names) - _CHANGES} more: python -m src.runs diff")
    reached = "" if one is None or other is None else f"{metric} {other - one:+.4f}; "
    if (data := data_of(earlier)) != data_of(record):
        reached = f"not compared, since its data is {data}; "
    return reached + (", ".join(changes) or "the same settings")


def next_commands(record: Record) -> list[str]:
    """Commands that go on from this run, each as it can be pasted from where the user stands."""

    def quoted(path: Path) -> str:
        return shlex.quote(shown(path, ROOT))  # where the commands end up after their cd, if they need one

    run = record.values
    active = _is_active()
    python = "python" if active else quoted(Path(sys.executable))
    commands = [f"{python} -m src.dashboard"]
    if run["status"] == "failed":
        commands = [f"less {quoted(record.directory / LOG_NAME)}"]
    if run["status"] != "done" and not record.would_fail_again:
        commands.append(f"{python} -m src.train resume={run['id']}")
    elif run["best"]["checkpoint"]:
        commands.insert(0, f"{python} -m src.evaluate {run['id']}")
    prefix = "" if Path.cwd() == ROOT else f"cd {shlex.quote(str(ROOT))} && "
    return [prefix + command for command in commands]
