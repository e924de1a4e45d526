"""HTML report of runs or a sweep: ``report``. A self-contained file without scripts."""

import base64
import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from src.formatting import duration, figure
from src.records.baseline import Baseline
from src.records.find import labels
from src.records.record import Record
from src.records.settings import as_word, data_of, settings_of
from src.records.summary import Summary, differing, environment_of, metric_names, summary
from src.records.sweep import Sweep
from src.views.leaderboard import make_leaderboard
from src.views.scalars import Point, curves
from src.views.showing import origin
from src.views.table import difference

# Results of the test, written by src.callbacks.results.
RESULTS = "results.json"
_TEMPLATE = Path(__file__).with_name("report.html")
# Pairs of curves that share a chart, the first one dashed; every other curve has its own chart.
_CHARTS = {"loss": ("train/loss", "val/loss"), "accuracy": ("train/acc", "val/acc")}
_FINAL = ("test/loss", "test/acc")  # one point each, shown in the table
# More lines than this cannot be distinguished.
_LINES = 12
# Maximum number of runs whose images are shown; further ones are only in the table and the charts.
_IN_FULL = 12


def make_report(records: Sequence[Record], sweep: Sweep | None = None, baseline: Baseline | None = None) -> str:
    """Create the HTML report of runs.

    Args:
        records: at least one run.
        sweep: the sweep of the runs, if the report is to start with its leaderboard.
        baseline: the runs on its data are compared with it.
    """
    import jinja2

    ranked = sorted(records, key=lambda record: (data_of(record), summary(record).rank)) if sweep else list(records)
    runs, varied = [summary(record) for record in ranked], differing(ranked)
    title = sweep.values["id"] if sweep else ", ".join(run.title for run in runs[:4])
    compared = [difference(baseline.difference(record) if baseline else None) for record in ranked]
    metrics = [name for name in metric_names(runs) if name.startswith(("best/", "val/", "test/"))]
    template = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return template.from_string(_TEMPLATE.read_text()).render(
        title=title,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        board=make_leaderboard(sweep, baseline) if sweep else None,
        command=sweep.values.get("command") if sweep else None,
        metrics=metrics,
        baseline=baseline if any(compared) else None,
        varied=list(varied),
        rows=[
            {
                "run": run,
                "cells": [
                    *(figure(run.metrics.get(name)) for name in metrics),
                    *([compared[number]] if any(compared) else []),
                    duration(run.duration),
                    *(values[number] for values in varied.values()),
                ],
            }
            for number, run in enumerate(runs)
        ],
        charts=_charts(ranked[:_LINES]),
        lines=_LINES if len(ranked) > _LINES else None,
        runs=[_in_full(record, run) for record, run in zip(ranked[:_IN_FULL], runs, strict=False)],
        left_out=max(0, len(ranked) - _IN_FULL),
    )


def _in_full(record: Record, run: Summary) -> dict[str, Any]:
    return {
        "id": run.id,
        "title": run.title,
        "status": run.status,
        "facts": {
            "command": run.command,
            "started": run.started,
            "took": duration(run.duration),
            "code": run.code,
            "imported": origin(record),
            "note": run.note,
            "error": run.error,
            "warnings": "; ".join(run.warnings),
            **run.best_line,
        },
        "settings": {name: as_word(value) for name, value in settings_of(record).items()},
        "environment": {name: as_word(value) for name, value in environment_of(record).items()},
        "results": _results(record.directory),
    }


def _results(directory: Path) -> dict[str, Any] | None:
    """The results of the test; None if there are none to show."""
    try:
        results = json.loads((directory / RESULTS).read_text())
        confusion, classes = results["confusion"], results["classes"]
        most = max(max(row) for row in confusion) or 1
        bins = [one for one in results["calibration"]["bins"] if one["count"]]
        for mistake in results["mistakes"]:  # re-encoded, since it is inserted into HTML
            mistake["image"] = mistake["image"] and base64.b64encode(base64.b64decode(mistake["image"])).decode()
        return {
            "classes": classes,
            # Diagonal and mistakes are shaded relative to their own maximum, since the diagonal would dominate.
            "confusion": [
                [(count, _shade(count, most, number == other)) for other, count in enumerate(row)]
                for number, row in enumerate(confusion)
            ],
            "ece": results["calibration"]["ece"],
            "bins": bins,
            "mistakes": results["mistakes"],
        }
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _shade(count: int, most: int, correct: bool) -> str:
    strength = count / most if correct else min(1.0, 20 * count / most)
    return f"rgba({'46,125,50' if correct else '198,40,40'},{0.8 * strength:.2f})"


def _charts(records: Sequence[Record]) -> list[tuple[str, str]]:
    """Heading and SVG in base64 of each chart, with one color per run."""
    names = [_line(record, label, records) for record, label in zip(records, labels(records), strict=True)]
    measured = {name: curves(record.directory) for name, record in zip(names, records, strict=True)}
    tags = sorted({tag for one in measured.values() for tag in one} - set(_FINAL))
    paired = {tag for pair in _CHARTS.values() for tag in pair}
    charts = {**_CHARTS, **{tag: (tag,) for tag in tags if tag not in paired and tag != "samples"}}
    drawn = []
    for heading, wanted in charts.items():
        lines = [(name, tag, one[tag]) for name, one in measured.items() for tag in wanted if one.get(tag)]
        if any(len(points) > 1 for _, _, points in lines):
            drawn.append((heading, _chart(lines, list(measured), dashed=wanted[0] if len(wanted) > 1 else None)))
    return drawn


def _line(record: Record, label: str, records: Sequence[Record]) -> str:
    """Label of a run in the legend: its name, with the id if the name is not unique."""
    name = record.values["name"]
    names = [one.values["name"] for one in records]
    return label if name is None else name if names.count(name) == 1 else f"{name} {label}"


def _chart(lines: Sequence[tuple[str, str, Sequence[Point]]], names: Sequence[str], dashed: str | None) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axes = figure.subplots()
    for name, tag, points in lines:
        axes.plot(
            [point.step for point in points],
            [point.value for point in points],
            color=f"C{names.index(name) % 10}",
            linestyle="--" if tag == dashed else "-",
            linewidth=1.2,
            marker="." if len(points) == 1 else None,
            label=f"{name}  {tag}" if dashed else name,
        )
    axes.set_xlabel("optimizer step")
    axes.grid(alpha=0.3)
    if len(lines) <= _LINES * 2:
        axes.legend(fontsize=6, frameon=False)
    picture = io.BytesIO()
    figure.savefig(picture, format="svg")
    return base64.b64encode(picture.getvalue()).decode()
