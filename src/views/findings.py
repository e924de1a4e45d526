"""What a set of runs has shown, as text and as rows: ``summary``."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.filesize import decimal

from src.formatting import duration, figure
from src.records.settings import as_word, short_names
from src.views.table import Column, brief, print_table

# Values of a setting in the text.
_FEW = 5


def as_rows(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each value of each setting that was tried."""
    return [
        {"data": group["data"], "metric": group["metric"], "setting": name, **row}
        for group in found["groups"]
        for name, tried in group["tried"].items()
        for row in tried["values"]
    ]


def print_findings(found: Mapping[str, Any], console: Console) -> None:
    """Print the result of ``findings``."""

    def say(text: str, style: str = "") -> None:
        console.print(text, markup=False, soft_wrap=True, style=style)

    counts = ", ".join(f"{count:,} {status}" for status, count in found["status"].items())
    say(f"runs: {counts or 'none'}")
    for group in found["groups"]:
        metric = group["metric"] or "no monitored metric"
        say(f"\n{metric} on {group['data']}: {group['finished']:,} of {group['runs']:,} runs finished", "bold")
        if best := group["best"]:
            settings = "".join(f" {name}={brief(as_word(value))}" for name, value in best["settings"].items())
            say(f"best: {figure(best['value'])} in {best['id']}{settings and ':' + settings}")
            say(f"  {best['command']}")
        if group["plateau"]:
            say(_plateau(group["plateau"]))
        if group["tried"]:
            print_table(console, [_tried(group["tried"])], aligned=True)
    if front := found.get("front"):
        say(
            f"\nPareto front of {' and '.join(f'{name} ({mode})' for name, mode in front['objectives'].items())}",
            "bold",
        )
        for run in front["runs"]:
            means = ", ".join(f"{name} {figure(value)}" for name, value in run["means"].items())
            say(f"{means} in {' '.join(run['ids'])}\n  {run['command']}")
    if found["failed"]:
        say("\nfailed", "bold")
    for error in found["failed"]:
        ids = " ".join(error["ids"][:_FEW]) + (" ..." if error["runs"] > _FEW else "")
        say(f"{error['runs']:,} x {error['error']}\n  {ids}")
    if found["interrupted"]:
        say(f"\n{len(found['interrupted']):,} interrupted", "bold")
        say(f"python -m src.train resume={found['interrupted'][-1]}")
    if found["running"]:
        say("\nrunning", "bold")
    for run in found["running"]:
        epoch = f"epoch {run['epoch']}" + (f"/{run['epochs']}" if run["epochs"] else "") if run["epoch"] else ""
        left = f"{duration(run['remaining_s'])} left" if run["remaining_s"] is not None else ""
        metric = f"{run['metric']} {figure(run['last'])}" if run["last"] is not None else ""
        say(", ".join(part for part in (run["name"] or run["id"], epoch, left, metric) if part))
    if found["disk"]:
        say(f"\n{decimal(found['disk']['free_bytes'])} free of {decimal(found['disk']['total_bytes'])}")


def _plateau(plateau: Mapping[str, Any]) -> str:
    k, since = plateau["k"], plateau["runs_since_best"]
    if plateau["reached"] is None:
        return f"plateau: too few finished runs to compare the last {k} with those before"
    if plateau["reached"]:
        return f"plateau: yes, none of the last {k} finished runs improved the best, which is {since} runs old"
    return f"plateau: no, the last {k} finished runs improved the best by {figure(plateau['improved_by'])}"


def _tried(tried: Mapping[str, Any]) -> Sequence[Column]:
    names = dict(zip(tried, short_names(tried), strict=True))
    rows = [
        (names[name] if not position else "", row, one["distinct"])
        for name, one in tried.items()
        for position, row in enumerate(one["values"][:_FEW])
    ]
    return [
        Column("setting", [name and f"{name}, {distinct:,} values" for name, _, distinct in rows]),
        Column("value", [brief(as_word(row["value"])) for _, row, _ in rows], least=16),
        Column("runs", [str(row["runs"]) for _, row, _ in rows]),
        Column("failed", [str(row["failed"] or "") for _, row, _ in rows], 10),
        Column("best", [figure(row["best"]) for _, row, _ in rows]),
        Column("mean", [figure(row["mean"]) for _, row, _ in rows]),
    ]
