"""Tables in CSV files, read as text, with columns parsed as numbers or categories. Errors name file, row and column.

Rows are numbered as in a spreadsheet: the header is row 1.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from src.errors import ConfigError, DataError, suggest
from src.paths import shown

# Representations of a missing value, in lower case and without surrounding spaces.
_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
_LARGEST = float(np.finfo(np.float32).max)  # networks compute in float32
# Maximum number of categories; a column with more is probably numeric with an error, or of dates or identifiers.
_MOST_CATEGORIES = 1000


@dataclass(frozen=True)
class Table:
    """Content of a CSV file as text.

    Attributes:
        path: path of the file.
        rows: number of each row in the file.
        columns: column name to its cells, without surrounding spaces.
    """

    path: Path
    rows: list[int]
    columns: dict[str, list[str]]

    def check_columns(self, names: Sequence[str], setting: str) -> None:
        """Check that columns exist.

        Raises:
            ConfigError: a name is not the name of a column.
        """
        for name in names:
            if name not in self.columns:
                known = ", ".join(list(self.columns)[:20]) + (", ..." if len(self.columns) > 20 else "")
                raise ConfigError(
                    f"{setting}={name}: {shown(self.path)} has no such column{suggest(name, self.columns) or ';'} it has {known}."
                )

    def fault(self, column: str, index: int, problem: str) -> DataError:
        """The error for a cell, which names file, row and column."""
        return DataError(f"{shown(self.path)}, row {self.rows[index]}, column {column!r}: {problem}.")


def read_table(path: Path, delimiter: str = ",") -> Table:
    """Read a CSV file with a header, in UTF-8. Empty lines are skipped.

    Raises:
        ConfigError: the file does not exist.
        DataError: the file cannot be read, has no rows or rows of unequal length, or has a column without a unique name.
    """
    name = shown(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            header = [cell.strip() for cell in next(reader, [])]
            numbered = [(number, row) for number, row in enumerate(reader, 2) if row]
    except FileNotFoundError as error:
        raise ConfigError(
            f"{name} does not exist: paths in data.path and data.test_path are relative to the project's root."
        ) from error
    except OSError as error:
        raise DataError(f"{name} cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is not UTF-8 text (byte {error.start}): save it in UTF-8.") from error
    except csv.Error as error:
        raise DataError(f"{name}, row {reader.line_num}: {error}.") from error
    _check_header(name, header, delimiter)
    for number, row in numbered:
        if len(row) != len(header):
            raise DataError(
                f"{name}, row {number}: it has {len(row)} values and the header names {len(header)} columns: correct the row, "
                "or put values that hold the delimiter into quotes."
            )
    if not numbered:
        raise DataError(f"{name} has no rows below its header: at least one is needed.")
    cells = zip(*(row for _, row in numbered), strict=True)
    columns = {key: list(map(str.strip, column)) for key, column in zip(header, cells, strict=True)}
    return Table(path, [number for number, _ in numbered], columns)


def _check_header(name: str, header: Sequence[str], delimiter: str) -> None:
    if not header:
        raise DataError(f"{name} is empty: its first row must name the columns.")
    for number, key in enumerate(header):
        if not key or key in header[:number]:
            problem = f"the name {key!r} of column {number + 1} is taken" if key else f"column {number + 1} has no name"
            raise DataError(f"{name}, row 1: {problem}: give every column a name of its own.")
    if all(is_number(key) for key in header):
        raise DataError(f"{name}, row 1: it holds numbers, and the first row must name the columns: add a header.")
    if len(header) == 1 and (other := next((one for one in ";\t|," if one != delimiter and one in header[0]), None)):
        raise DataError(f"{name} has one column, {header[0]!r}: set data.delimiter={other!r}.")


def is_number(cell: str) -> bool:
    """Whether a cell is a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def is_missing(cell: str) -> bool:
    """Whether a cell represents a missing value."""
    return cell.lower() in _MISSING


def as_numbers(table: Table, column: str) -> NDArray[np.float64] | None:
    """The values of a column, NaN where they are missing; None if one is not a number.

    Raises:
        DataError: a value is infinite or beyond float32.
    """
    cells = table.columns[column]
    try:
        try:
            values = np.fromiter(map(float, cells), np.float64, len(cells))
        except ValueError:
            filled = ("nan" if is_missing(cell) else cell for cell in cells)
            values = np.fromiter(map(float, filled), np.float64, len(cells))
    except ValueError:
        return None
    if (wrong := np.flatnonzero(np.abs(values) > _LARGEST)).size:
        raise table.fault(column, wrong[0], f"{cells[wrong[0]]} is beyond float32's {_LARGEST:.1e}: correct it")
    return values


def categories_of(table: Table, column: str) -> list[str]:
    """The sorted distinct values of a column, without missing ones: integers by value, text by code points.

    Raises:
        DataError: there are too many values for categories.
    """
    cells = table.columns[column]
    found = [cell for cell in set(cells) if not is_missing(cell)]
    if len(found) > _MOST_CATEGORIES:
        index = next(index for index, cell in enumerate(cells) if not is_missing(cell) and not is_number(cell))
        raise table.fault(
            column,
            index,
            f"{cells[index]!r} is not a number, and as categories the column has {len(found):,} different values (at most "
            f"{_MOST_CATEGORIES:,}): correct the value, or leave the column out by data.drop=[{column}]",
        )
    return in_order(found)


def in_order(names: Sequence[str]) -> list[str]:
    """Sort names: by value if all are integers, else as text."""
    return sorted(names, key=int) if all(map(is_integer, names)) else sorted(names)


def is_integer(cell: str) -> bool:
    """Whether a cell is an integer."""
    try:
        int(cell)
    except ValueError:
        return False
    return True


def as_indices(table: Table, column: str, categories: Sequence[str], what: str) -> NDArray[np.int64]:
    """The category index of each cell, -1 where it is missing.

    Raises:
        DataError: a cell is not one of the categories.
    """
    positions = {name: position for position, name in enumerate(categories)}
    cells = table.columns[column]
    found = [positions.get(cell, -2) for cell in cells]
    if -2 in found:
        for index, (cell, position) in enumerate(zip(cells, found, strict=True)):
            if position == -2 and not is_missing(cell):
                raise table.fault(
                    column, index, f"{cell!r} is no {what} of the training file: add samples of it, or correct it"
                )
    return np.maximum(np.array(found, dtype=np.int64), -1)
