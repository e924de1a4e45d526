"""HTML report of runs or a sweep: ``report``. A self-contained file, whose only script is report.js."""

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from src.formatting import duration, figure
from src.records.baseline import Baseline
from src.records.record import Record
from src.records.settings import REPLICATES, as_word, data_of, settings_of, short_names
from src.records.summary import Summary, environment_of, is_low, metric_names, summary
from src.records.sweep import Sweep
from src.views.charts import Compared, chart_data
from src.views.leaderboard import Leaderboard, make_leaderboard
from src.views.results import read_results
from src.views.showing import origin
from src.views.table import brief, difference

# report.html is a template, into which report.css and report.js are inserted.
_HERE = Path(__file__).parent
# Maximum number of runs whose misclassified samples are shown, since their images are large.
_IN_FULL = 12


class _Cell(NamedTuple):
    """A cell of a sortable table.

    Attributes:
        text: its text.
        value: by which rows are sorted, if it is not the text.
        style: CSS classes.
        href: id of the element that it links to.
    """

    text: str
    value: float | None = None
    style: str = ""
    href: str = ""


class _Column(NamedTuple):
    """A column of a sortable table.

    Attributes:
        heading: its heading.
        cells: its cells.
        title: its full name, if the heading is abbreviated.
        first: the direction in which it is sorted first, ``ascending`` or ``descending``.
    """

    heading: str
    cells: Sequence[_Cell]
    title: str = ""
    first: str = "ascending"


def make_report(records: Sequence[Record], sweep: Sweep | None = None, baseline: Baseline | None = None) -> str:
    """Create the HTML report of runs.

    Args:
        records: at least one run.
        sweep: the sweep of the runs, if the report is to start with its leaderboard.
        baseline: the runs on its data are compared with it.
    """
    import jinja2

    ranked = sorted(records, key=lambda record: (data_of(record), summary(record).rank)) if sweep else list(records)
    board = make_leaderboard(sweep, baseline) if sweep else None
    compared = Compared.of(ranked, board.objectives if board else {})
    data = chart_data(compared)
    settings = [_as_words(settings_of(record)) for record in ranked]
    environments = [_as_words(environment_of(record)) for record in ranked]
    script = (_HERE / "report.js").read_text()
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string((_HERE / "report.html").read_text()).render(
        title=sweep.values["id"] if sweep else ", ".join(run.title for run in compared.runs[:4]),
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        style=(_HERE / "report.css").read_text(),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        command=sweep.values.get("command") if sweep else None,
        counts=_counts(compared.runs),
        baseline=baseline if baseline and any(baseline.difference(record) is not None for record in ranked) else None,
        board=board,
        # Without replicates, the rows of the leaderboard would be those of the runs.
        configurations=_configurations(board, compared) if board and len(board.rows) < len(ranked) else [],
        columns=_columns(compared, baseline),
        data=data,
        has_means=any("n" in line for chart in data["charts"] for line in chart["lines"]),
        runs=[
            _details(compared, number) | {"settings": own, "environment": own_environment}
            for number, (own, own_environment) in enumerate(
                zip(_without_shared(settings), _without_shared(environments), strict=True)
            )
        ],
        in_full=_IN_FULL,
        settings=_shared(settings),
        environment=_shared(environments),
    )


def _counts(runs: Sequence[Summary]) -> str:
    """``24 runs: 18 done, 6 failed``."""
    statuses = Counter(run.status for run in runs)
    found = ", ".join(f"{count} {status}" for status, count in statuses.most_common())
    return f"{len(runs)} runs: {found}" if len(runs) > 1 else f"{runs[0].ended}, started {runs[0].started}"


def _columns(compared: Compared, baseline: Baseline | None) -> list[_Column]:
    """The columns of the table of runs; those without any text are omitted."""
    runs, records = compared.runs, compared.records

    def texts(heading: str, found: Sequence[str], title: str = "") -> _Column:
        return _Column(heading, [_Cell(text) for text in found], title)

    def of_metric(name: str) -> _Column:
        cells = [_Cell(figure(value), value, "number") for value in (run.metrics.get(name) for run in runs)]
        return _metric_column(name, cells, compared)

    metrics = compared.metrics
    others = [name for name in metric_names(runs) if name.startswith(("val", "test")) and name not in metrics]
    names = [run.name or "" for run in runs]
    columns = [
        _Column("run", [_Cell(id, href=_anchor(number)) for number, id in enumerate(compared.ids)]),
        texts("name", names if len({*names}) > 1 or len(runs) == 1 else [""] * len(runs)),
        texts("tags", [" ".join(run.tags) for run in runs]),
        _Column("status", [_Cell(run.status, style=run.status) for run in runs]),
        *map(of_metric, metrics),
    ]
    if baseline:
        cells = [_difference(baseline, record) for record in records]
        columns.append(_metric_column(baseline.metric, cells, compared)._replace(heading="vs baseline"))
    for heading, (name, values) in zip(short_names(compared.settings), compared.settings.items(), strict=True):
        columns.append(texts(heading, [brief(value) for value in values], name))
    columns += [
        _Column("took", [_Cell(duration(run.duration), run.duration, "number") for run in runs]),
        *map(of_metric, others),
        texts("note", [run.note or "" for run in runs]),
        texts("error", [run.error or "" for run in runs]),
    ]
    return [column for column in columns if any(cell.text for cell in column.cells)]


def _configurations(board: Leaderboard, compared: Compared) -> list[_Column]:
    """The columns of the leaderboard, a row for each configuration."""
    columns = []
    rows = [board.cells(row) for row in board.rows]
    for heading, texts in zip(board.headings, zip(*rows, strict=True), strict=True):
        if heading == "status":
            columns.append(_Column(heading, [_Cell(row.status, style=row.status) for row in board.rows]))
        elif heading in (board.metric, *board.objectives, board.test_metric, "vs baseline"):
            metric = board.metric if heading == "vs baseline" else heading
            column = _metric_column(metric, [_Cell(text, style="number") for text in texts], compared)
            columns.append(column._replace(heading=heading))
        else:
            style = "number" if heading in ("std", "n", "seconds") else ""
            columns.append(_Column(heading, [_Cell(text, style=style) for text in texts]))
    return columns


def _metric_column(name: str, cells: Sequence[_Cell], compared: Compared) -> _Column:
    """A column that is sorted best first."""
    return _Column(name, cells, name, "ascending" if compared.is_low(name) else "descending")


def _difference(baseline: Baseline, record: Record) -> _Cell:
    value = baseline.difference(record)
    is_better = value and (value < 0) == is_low(baseline.metric.removeprefix("best/"), [record])
    return _Cell(difference(value), value, "number" + (" better" if is_better else " worse" if value else ""))


def _as_words(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: as_word(value) for name, value in values.items()}


def _shared(found: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The entries that are the same in all of several runs."""
    if len(found) == 1:
        return {}
    return {name: value for name, value in found[0].items() if all(one.get(name) == value for one in found)}


def _without_shared(found: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    shared = _shared(found)
    return [{name: value for name, value in one.items() if name not in shared} for one in found]


def _anchor(number: int) -> str:
    return f"run-{number}"


def _details(compared: Compared, number: int) -> dict[str, Any]:
    """The section of a run, without its settings and environment."""
    record, run, id = compared.records[number], compared.runs[number], compared.ids[number]
    label = [word for word in compared.labels[compared.group_of[number]] if word != id]
    for name, short in zip(REPLICATES, short_names(REPLICATES), strict=True):
        if name in compared.settings:
            label.append(f"{short}={compared.settings[name][number]}")
    facts = {
        "id": run.id,
        "command": run.command,
        "started": run.started,
        "took": duration(run.duration),
        "code": run.code,
        "imported": origin(record),
        "note": run.note,
        "error": run.error,
        "warnings": "; ".join(run.warnings),
    }
    return {
        "anchor": _anchor(number),
        "number": number,
        "id": id,
        "status": run.status,
        "label": " ".join(label),
        "best": run.best_line,
        "facts": {name: value for name, value in facts.items() if value},
        "metrics": {name: "NaN or Inf" if value is None else figure(value) for name, value in run.metrics.items()},
        "results": read_results(record.directory),
        "with_mistakes": number < _IN_FULL,
    }
