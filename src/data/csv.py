"""Tabular data of numeric and categorical columns from CSV files, for classification or regression."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.bounds import Bounds, Count, CountOrZero, FractionBelowOne, OpenFraction
from src.data.module import TensorData
from src.data.normalize import Normalize
from src.data.split import count_of, hold_out
from src.data.table import (
    Table,
    as_indices,
    as_numbers,
    categories_of,
    in_order,
    is_integer,
    is_missing,
    is_number,
    read_table,
)
from src.errors import ConfigError
from src.paths import from_root, shown

Kind = Literal["auto", "classification", "regression"]
Missing = Literal["error", "mean"]

# Maximum number of classes with kind=auto; more distinct integers are probably not class indices.
_MOST_CLASSES = 100


class CSV(TensorData):
    """CSV file with a header and one sample per row.

    Numeric columns are standardised by mean and standard deviation of the training samples; categorical columns are one-hot
    encoded. A column is numeric if all of its values are numbers.

    Args:
        settings: see ``TensorData``.

    Attributes:
        feature_names: name of each value of a sample: the column, or ``column=category`` for a category.

    Raises:
        ConfigError: a file or a column does not exist, or settings are incompatible with each other or with the files.
        DataError: a file cannot be read, or a value is missing or invalid; the message names row and column.
    """

    stratified = True

    def __init__(
        self,
        *,
        path: Annotated[str, "CSV file, relative to the project's root"],
        target: Annotated[str | Sequence[str], "column to predict; for regression also a list of columns"],
        kind: Annotated[Kind, "auto: classification if the target is text or integers, else regression"] = "auto",
        columns: Annotated[Sequence[str] | None, "columns to predict from; null: all but the target"] = None,
        drop: Annotated[Sequence[str], "columns to leave out"] = (),
        categorical: Annotated[Sequence[str], "columns of numbers that stand for categories"] = (),
        missing: Annotated[
            Missing, "missing values; mean: the mean of the training samples, in a categorical column no category"
        ] = "error",
        delimiter: Annotated[str, Bounds(max_length=1), "character between values"] = ",",
        test_path: Annotated[str | None, "CSV file of the test set, relative to the project's root"] = None,
        test_size: Annotated[
            Count | OpenFraction, "without test_path: samples of path for the test, a number or a fraction"
        ] = 0.2,
        val_size: Annotated[
            CountOrZero | FractionBelowOne, "other samples of path held out for validation, a number or a fraction"
        ] = 0.2,
        **settings: Any,
    ) -> None:
        for name in ("mean", "std"):
            if name in settings:
                raise ConfigError(
                    f"data.{name} cannot be set: numeric columns are standardised by the training samples."
                )
        choice = _Choice(
            (target,) if isinstance(target, str) else tuple(target),
            kind,
            None if columns is None else tuple(columns),
            tuple(drop),
            tuple(categorical),
            missing,
            delimiter,
        )
        files = [from_root(path), *([from_root(test_path)] if test_path is not None else [])]
        table = _encoded(choice, *((file, *_version(file)) for file in files))
        self.feature_names, self.input_shape = table.features, (len(table.features),)
        if table.classes is None:
            self.classes, self.targets, self.target_names = None, len(choice.target), choice.target
        else:
            self.classes, self.class_names = len(table.classes), table.classes
        self.draws_test = test_path is None
        super().__init__(val_size=val_size, **settings)
        self._standardize(table, test_size)

    def _standardize(self, table: "_Encoded", test_size: int | float) -> None:
        """Split into training and test set, impute missing values, and set ``normalize``."""
        inputs, labels = torch.from_numpy(table.inputs[0]), torch.from_numpy(table.labels[0])
        if len(table.inputs) > 1:
            parts = [(inputs, labels), (torch.from_numpy(table.inputs[1]), torch.from_numpy(table.labels[1]))]
        else:
            count = count_of(test_size, len(labels))
            if count >= len(labels):
                raise ConfigError(
                    f"data.test_size={test_size} leaves nothing to train on: there are {len(labels):,} samples, so set "
                    f"{len(labels) - 1} at most."
                )
            test, rest = hold_out(self.seed, len(labels), count, labels if self.classes else None, purpose="test")
            parts = [(inputs[rest], labels[rest]), (inputs[test], labels[test])]
        train, _ = self.split(parts[0][1])
        numeric = torch.from_numpy(table.numeric)
        known = parts[0][0][train].double()
        mean = torch.where(numeric, known.nanmean(0).nan_to_num(), 0.0)
        std = (known - mean).square().nanmean(0).sqrt()
        std = torch.where(numeric & (std > 0), std, 1.0)  # a constant column becomes 0
        self.normalize = Normalize(mean.float(), std.float())
        self._parts = [(torch.where(raw.isnan(), mean.float(), raw), values) for raw, values in parts]

    def load(self, train: bool) -> tuple[Tensor, Tensor]:
        """Load rows as float32 (n, features), with classes as int64 (n,) or targets as float32 (n, targets)."""
        return self._parts[0 if train else 1]


@dataclass(frozen=True)
class _Choice:
    """The settings of ``CSV`` on which the content that is read depends; hashable, as the key of a cache."""

    target: tuple[str, ...]
    kind: Kind
    columns: tuple[str, ...] | None
    drop: tuple[str, ...]
    categorical: tuple[str, ...]
    missing: Missing
    delimiter: str


@dataclass(frozen=True)
class _Encoded:
    """The encoded content of one or two files.

    Attributes:
        features: names of the values of a sample.
        numeric: whether each feature is from a numeric column, bool (features,).
        classes: class names; None for regression.
        inputs: for each file, float32 (n, features), NaN where a number is missing.
        labels: for each file, int64 (n,) or float32 (n, targets).
    """

    features: tuple[str, ...]
    numeric: NDArray[np.bool_]
    classes: tuple[str, ...] | None
    inputs: tuple[NDArray[np.float32], ...]
    labels: tuple[NDArray[Any], ...]


def _version(path: Path) -> tuple[int, int]:
    """Modification time and size of a file, which change when it is written; zeros if it does not exist, which reading reports."""
    try:
        return path.stat().st_mtime_ns, path.stat().st_size
    except OSError:
        return 0, 0


@lru_cache(maxsize=2)  # a configuration is checked and then trained, and jobs of a sweep read the same files
def _encoded(choice: _Choice, *files: tuple[Path, int, int]) -> _Encoded:
    tables = [read_table(path, choice.delimiter) for path, *_ in files]
    first = tables[0]
    for setting, names in vars(choice).items():
        if setting in ("target", "columns", "drop", "categorical"):
            first.check_columns(names or (), f"data.{setting}")
    if not choice.target or len({*choice.target}) < len(choice.target):
        raise ConfigError(f"data.target={[*choice.target]} must name one column or more, each once.")
    if repeated := set(choice.target) & {*(choice.columns or ()), *choice.drop}:
        raise ConfigError(
            f"data.target={min(repeated)} cannot be among data.columns or data.drop as well: leave it out there."
        )
    chosen = first.columns if choice.columns is None else choice.columns
    columns = [name for name in chosen if name not in (*choice.target, *choice.drop)]
    if not columns:
        raise ConfigError(f"{shown(first.path)} has no column left to predict from: see to data.columns and data.drop.")
    for table in tables[1:]:
        table.check_columns([*choice.target, *columns], "data.test_path")

    remedy = None if choice.missing == "mean" else "set data.missing=mean, or leave the column out by data.drop"
    features, numeric, blocks = list[str](), list[bool](), list[list[NDArray[np.float32]]]()
    for column in columns:
        is_numeric = column not in choice.categorical and as_numbers(first, column) is not None
        categories = [] if is_numeric else categories_of(first, column)
        features += [column] if is_numeric else [f"{column}={category}" for category in categories]
        numeric += [is_numeric] * (1 if is_numeric else len(categories))
        blocks.append(
            [
                _numbers(table, column, remedy) if is_numeric else _one_hot(table, column, categories, remedy)
                for table in tables
            ]
        )
    classes = _classes(first, choice)
    return _Encoded(
        tuple(features),
        np.array(numeric),
        classes,
        tuple(np.concatenate([block[number] for block in blocks], 1) for number in range(len(tables))),
        tuple(_labels(table, choice.target, classes) for table in tables),
    )


def _classes(table: Table, choice: _Choice) -> tuple[str, ...] | None:
    """Sorted class names; None for regression."""
    [column, *others] = choice.target
    if choice.kind == "regression" or (choice.kind == "auto" and others):
        return None
    if others:
        raise ConfigError(f"data.target has {1 + len(others)} columns: data.kind=classification predicts one.")
    names = in_order([cell for cell in set(table.columns[column]) if not is_missing(cell)])
    if choice.kind == "auto":
        if as_numbers(table, column) is not None and not all(is_integer(name) for name in names):
            return None
        if len(names) > _MOST_CLASSES:
            raise ConfigError(
                f"data.target={column} has {len(names):,} different values, more than {_MOST_CLASSES}: set "
                "data.kind=regression to predict numbers, or data.kind=classification if each of them is a class."
            )
    if len(names) < 2:
        raise ConfigError(f"data.target={column} has only the value {names}: classification needs two or more.")
    return tuple(names)


def _labels(table: Table, target: Sequence[str], classes: Sequence[str] | None) -> NDArray[Any]:
    remedy = "correct the row or remove it"
    if classes is None:
        return np.concatenate([_numbers(table, column, remedy) for column in target], 1)
    indices = as_indices(table, target[0], classes, "class")
    _check_missing(table, target[0], indices < 0, remedy)
    return indices


def _numbers(table: Table, column: str, remedy: str | None) -> NDArray[np.float32]:
    """A numeric column as (n, 1), NaN where a value is missing. With a ``remedy``, a missing value is an error that names it."""
    values = as_numbers(table, column)
    if values is None:
        cells = table.columns[column]
        index = next(i for i, cell in enumerate(cells) if not is_number(cell) and not is_missing(cell))
        raise table.fault(column, index, f"{cells[index]!r} is not a number: correct it")
    _check_missing(table, column, np.isnan(values), remedy)
    return values.astype(np.float32)[:, None]


def _one_hot(table: Table, column: str, categories: Sequence[str], remedy: str | None) -> NDArray[np.float32]:
    """One-hot encode a categorical column, (n, categories)."""
    indices = as_indices(table, column, categories, "category")
    _check_missing(table, column, indices < 0, remedy)
    return (indices[:, None] == np.arange(len(categories))).astype(np.float32)


def _check_missing(table: Table, column: str, missing: NDArray[np.bool_], remedy: str | None) -> None:
    if remedy and missing.any():
        raise table.fault(column, int(missing.argmax()), f"the value is missing: {remedy}")
