"""What the terminal shows when a sweep ends."""

from rich.console import Console

from src.launching.logs import LOG_NAME
from src.paths import shown
from src.records.settings import differing
from src.records.sweep import Sweep
from src.views.table import make_table


def print_overview(sweep: Sweep, console: Console | None = None) -> None:
    """Print a line for every job, why jobs failed, which were not run, and what to type next."""
    console = console or Console(highlight=False)
    records = sweep.records()
    runs = [record.values for record in records]
    columns = {
        "job": [record.directory.name for record in records],
        "status": [
            f"pruned in epoch {run['pruned_in_epoch']}" if run.get("pruned_in_epoch") else record.status
            for record, run in zip(records, runs, strict=True)
        ],
        "best": ["" if run["best"]["value"] is None else f"{run['best']['value']:.4f}" for run in runs],
        "test/acc": [f"{run['metrics']['test/acc']:.4f}" if "test/acc" in run["metrics"] else "" for run in runs],
        "seconds": ["" if run["duration_s"] is None else f"{run['duration_s']:.1f}" for run in runs],
    }
    settings = [record.typed for record in records]
    varied = {key: [one.get(key, "") for one in settings] for key in differing(settings)}
    console.print(make_table(f"sweep {sweep.values['id']}", columns, varied, console.width))
    for record in records:
        if record.values["error"]:
            log = shown(record.directory / LOG_NAME)
            console.print(f"{record.values['id']}: {record.values['error']} (see {log})", markup=False, soft_wrap=True)
    for overrides in sweep.missing():
        console.print(f"not run: {overrides}", markup=False, soft_wrap=True)
    ways = [f"python -m src.runs ls --sweep {sweep.values['id']}"]
    if sweep.missing() or any(
        run["status"] != "done" and not r.would_fail_again for r, run in zip(records, runs, strict=True)
    ):
        ways.append(f"python -m src.train -m resume={sweep.values['id']}")
    console.print("next:", *ways, sep="\n  ", soft_wrap=True, markup=False)
