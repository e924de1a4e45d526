"""Tables of runs for the terminal, with the settings in columns if they fit, else in a single column."""

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from src.records.settings import short_names
from src.records.summary import Summary, metric_names

STATUS_STYLE = {"done": "green", "failed": "red", "interrupted": "yellow", "running": "cyan", "pruned": "dim"}
_GAP = 2


def brief(word: str) -> str:
    """Format the value of a setting, with fractions to four digits."""
    try:
        number = float(word)
    except ValueError:
        return word
    return word if number.is_integer() else f"{number:.4g}"


def figure(value: float | None) -> str:
    """Format a number to four decimals; empty for None."""
    return "" if value is None else f"{value:.4f}"


def metric_columns(runs: Sequence[Summary]) -> dict[str, list[str]]:
    """Heading to cells of the metrics in a table of runs: best values and test metrics."""
    tested = {run.test_metric for run in runs}
    names = [name for name in metric_names(runs) if name.startswith("best/") or name in tested]
    return {name: [figure(run.metrics.get(name)) for run in runs] for name in names}


def make_table(
    title: str, columns: Mapping[str, Sequence[str]], settings: Mapping[str, Sequence[str]], width: int
) -> Table:
    """Create a table with a column for each setting if it fits into ``width`` characters, else with one for all settings.

    Args:
        title: title above the table.
        columns: heading to cells, from top to bottom; empty columns are omitted.
        settings: dotted name to cells, for settings that differ, with values as on the command line.
        width: width of the terminal.
    """
    names = dict(zip(settings, short_names(settings), strict=True))
    filled = {heading: list(cells) for heading, cells in columns.items() if any(cells)}
    apart = filled | {names[key]: [brief(cell) for cell in cells] for key, cells in settings.items()}
    needed = sum(max(map(len, [heading, *cells])) + _GAP for heading, cells in apart.items()) - _GAP
    if needed > width and settings:
        rows = zip(*settings.values(), strict=True)
        words = [
            [f"{names[key]}={brief(cell)}" for key, cell in zip(settings, row, strict=True) if cell] for row in rows
        ]
        apart = filled | {"settings": [" ".join(row) for row in words]}
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, _GAP, 0, 0))
    for number, (heading, cells) in enumerate(apart.items()):
        # The first column identifies the row, for copying and searching.
        is_word = number == len(apart) - 1 or (number and max(map(len, cells), default=0) > width // 4)
        table.add_column(Text(heading), overflow="fold", no_wrap=not is_word)
    for row in zip(*apart.values(), strict=True):
        table.add_row(*(Text(cell, style=STATUS_STYLE.get(cell.split(" ")[0], "")) for cell in row))
    return table
