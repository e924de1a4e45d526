"""Tables for the terminal, with one line per row at any width, and tab-separated for programs."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from src.formatting import figure
from src.records.settings import as_word, short_names
from src.records.summary import Summary, metric_names

STATUS_STYLE = {"done": "green", "failed": "red", "interrupted": "yellow", "running": "cyan", "pruned": "dim"}
# What a differentially private run has spent, without which its accuracy says little.
PRIVACY = "privacy/epsilon"
# Spaces between columns.
GAP = 2
# Widest cell of a setting or a name that is not truncated if space is short.
_WIDEST = 24


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        heading: its heading.
        cells: its cells, from top to bottom. A column without text in any cell is omitted.
        rank: if not all columns fit, those of the highest rank are omitted; rank 0 is always shown.
        least: width to which it may be truncated rather than omit another column; by default it is not truncated.
        enough: width with which it need not give way to a more compact form of the table; by default its full width.
    """

    heading: str
    cells: Sequence[str]
    rank: int = 0
    least: int | None = None
    enough: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "cells", [_in_one_line(cell) for cell in self.cells])

    @property
    def width(self) -> int:
        """Width of the widest cell and the heading, in characters of the terminal."""
        return max(map(cell_len, [self.heading, *self.cells]))

    @property
    def minimum(self) -> int:
        """The width that it has at least, where it is shown."""
        return self.width if self.least is None else min(self.width, self.least)

    @property
    def comfortable(self) -> int:
        """The width with which the table counts as fitting."""
        return self.width if self.enough is None else min(self.width, self.enough)


# Forms of the same table, the most spacious first.
Forms = Sequence[Sequence[Column]]


def print_table(console: Console, forms: Forms, title: str = "", *, aligned: bool = False) -> None:
    """Print a table with one line per row.

    On a terminal: the first form that fits into its width, else the last one, truncated with "…" and without the columns of
    the highest ranks. Elsewhere: the first form in full, without a title, its cells separated by tabs.

    Args:
        console: the console to print to.
        forms: forms of the table, the most spacious first.
        title: a line above the table.
        aligned: whether columns are aligned also where the output is not a terminal, as in logs.
    """
    spacious = [column for column in forms[0] if any(column.cells) or column.rank == 0]
    if not console.is_terminal and not aligned:
        for row in zip(*([column.heading, *column.cells] for column in spacious), strict=True):
            console.file.write("\t".join(row) + "\n")  # Console.print would expand the tabs
        return
    widths = fit(forms, console.width) if console.is_terminal else [(column, column.width) for column in spacious]
    ellipsis = "..." if console.options.ascii_only else "…"
    if title:
        console.print(title, markup=False, soft_wrap=True, style="italic")
    shown = [
        [
            Text(cut(column.heading, width, ellipsis), style="bold"),
            *(Text(cut(cell, width, ellipsis), style=_style(column, cell)) for cell in column.cells),
        ]
        for column, width in widths
    ]
    for cells in zip(*shown, strict=True):
        line = Text(" " * GAP).join(cells)
        line.rstrip()
        if console.is_terminal:  # narrower than the columns that are always shown
            line.truncate(console.width)
        console.print(line, soft_wrap=True)


def _style(column: Column, cell: str) -> str:
    return STATUS_STYLE.get(cell.split(" ")[0], "") if cell and column.heading == "status" else ""


def fit(forms: Forms, width: int) -> list[tuple[Column, int]]:
    """The columns of a table that are shown in ``width`` characters, with the width of each."""
    columns: list[Column] = []
    for form in forms:
        columns = [column for column in form if any(column.cells) or column.rank == 0]
        if _total([column.comfortable for column in columns]) <= width:
            return _grow([(column, column.comfortable) for column in columns], width)
    kept: list[Column] = []
    for column in sorted(columns, key=lambda column: column.rank):
        if column.rank == 0 or _total([one.minimum for one in [*kept, column]]) <= width:
            kept.append(column)
    return _grow([(column, column.minimum) for column in columns if column in kept], width)


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _grow(columns: Sequence[tuple[Column, int]], width: int) -> list[tuple[Column, int]]:
    """Distribute the remaining width, first to the columns that need least of it."""
    widths = [one for _, one in columns]
    spare = max(0, width - _total(widths))
    for number in sorted(range(len(columns)), key=lambda number: columns[number][0].width - widths[number]):
        more = min(spare, columns[number][0].width - widths[number])
        widths[number], spare = widths[number] + more, spare - more
    return [(column, one) for (column, _), one in zip(columns, widths, strict=True)]


def cut(text: str, width: int, ellipsis: str) -> str:
    """Pad a text to ``width`` characters of the terminal, or truncate it."""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    ellipsis = ellipsis[:width]
    return set_cell_size(text, width - len(ellipsis)) + ellipsis


def _in_one_line(text: str) -> str:
    """Replace line breaks, tabs and control characters, which would break a line or control the terminal."""
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)


def brief(word: str) -> str:
    """Format the value of a setting, as on the command line, with fractions to four significant digits."""
    try:
        number = float(word)
    except ValueError:
        return word
    if number.is_integer() or as_word(number) != word:  # 1.10 is a string, such as a version
        return word
    return f"{number:.4g}"


def difference(value: float | None) -> str:
    """Format a difference with its sign, to four significant digits; empty for None."""
    return "" if value is None else f"{value:+.4g}"


def default_metrics(runs: Sequence[Summary]) -> list[str]:
    """The metrics in a table of runs: best values, test metrics and the privacy budget; two others if there are none of them."""
    chosen = {*(run.test_metric for run in runs), PRIVACY}
    names = metric_names(runs)
    return [name for name in names if name.startswith("best/") or name in chosen] or names[:2]


def metric_columns(runs: Sequence[Summary], objectives: Collection[str] = ()) -> list[Column]:
    """A column for each of the metrics in a table of runs, and for each of the objectives of a search.

    Best values, which runs monitor, are more important than settings, as are the first two metrics and objectives; others are
    not.
    """
    metrics = dict.fromkeys([*objectives, *default_metrics(runs)])
    return [
        metric_column(name, runs, 40 if number < 2 or name.startswith("best/") or name in objectives else 60)
        for number, name in enumerate(metrics)
    ]


def metric_column(name: str, runs: Sequence[Summary], rank: int) -> Column:
    """The column of a metric."""
    return Column(name, [figure(run.metrics.get(name)) for run in runs], rank, least=12)


def setting_columns(settings: Mapping[str, Sequence[str]], rank: int = 50) -> list[Column]:
    """A column for each setting.

    Args:
        settings: dotted name to cells, with values as on the command line.
        rank: see ``Column``.
    """
    return [
        Column(heading, [brief(cell) for cell in cells], rank, least=_WIDEST, enough=_WIDEST)
        for heading, cells in zip(short_names(settings), settings.values(), strict=True)
    ]


def settings_column(settings: Mapping[str, Sequence[str]]) -> Column:
    """A single column for all settings, as ``lr=0.1 hidden=[16]``."""
    names = short_names(settings)
    cells = [
        " ".join(f"{name}={brief(cell)}" for name, cell in zip(names, row, strict=True) if cell)
        for row in zip(*settings.values(), strict=True)
    ]
    return Column("settings", cells, 50, least=16)


def forms_of(columns: Sequence[Column], settings: Mapping[str, Sequence[str]]) -> Forms:
    """A table with a column for each setting, or with a single column for all of them if they do not fit."""
    if not settings:
        return [columns]
    return [[*columns, *setting_columns(settings)], [*columns, settings_column(settings)]]
