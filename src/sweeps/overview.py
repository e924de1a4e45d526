"""What the terminal shows when a sweep ends."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from src.sweeps.leaderboard import brief
from src.sweeps.sweep import Sweep
from src.tracking.card import STATUS_STYLE, shown
from src.tracking.logs import LOG_NAME


def _brief(word: str) -> str:
    key, _, value = word.partition("=")
    return f"{key}={brief(value)}"


def print_overview(sweep: Sweep, console: Console | None = None) -> None:
    """Print a line for every job, why jobs failed, which were not run, and what to type next."""
    console = console or Console(highlight=False)
    table = Table(title=f"sweep {sweep.values['id']}", title_justify="left", box=None, pad_edge=False)
    table.add_column("job", no_wrap=True)
    for heading in ("overrides", "status", "best", "test/acc", "seconds"):
        table.add_column(heading, overflow="fold")
    records = sweep.records()
    shared = set.intersection(*(set(record.values["overrides"]) for record in records)) if len(records) > 1 else set()
    for record in records:
        run = record.values
        best, epoch = run["best"]["value"], run.get("pruned_in_epoch")
        table.add_row(
            run["id"],
            Text(" ".join(_brief(word) for word in run["overrides"] if word not in shared)),
            Text(f"pruned in epoch {epoch}" if epoch else record.status, style=STATUS_STYLE[record.status]),
            "" if best is None else f"{best:.4f}",
            f"{run['metrics']['test/acc']:.4f}" if "test/acc" in run["metrics"] else "",
            "" if run["duration_s"] is None else f"{run['duration_s']:.1f}",
        )
    console.print(table)
    for record in records:
        if record.values["error"]:
            log = shown(record.directory / LOG_NAME)
            console.print(f"{record.values['id']}: {record.values['error']} (see {log})", markup=False, soft_wrap=True)
    for overrides in sweep.missing():
        console.print(f"not run: {overrides}", markup=False, soft_wrap=True)
    ways = [f"python -m src.runs ls --sweep {sweep.values['id']}"]
    if not sweep.is_finished:
        ways.append(f"python -m src.train -m resume={sweep.values['id']}")
    console.print("next:", *ways, sep="\n  ", soft_wrap=True, markup=False)
