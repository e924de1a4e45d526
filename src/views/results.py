"""Results of a run's test for its report: confusion matrix, calibration and mistakes, from results.json."""

import base64
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

# Written by src.callbacks.results.
RESULTS = "results.json"
# With more classes, the matrix would be wider than a page; the most frequent confusions are shown alone.
_CLASSES = 25
_CONFUSIONS = 5
# The 97.5 % quantile of the normal distribution, for intervals of 95 %.
_Z = 1.96


class Confusion(NamedTuple):
    """Samples of a class that are predicted as another one: their number, and its share of the true class."""

    true: str
    predicted: str
    samples: int
    share: float


class Cell(NamedTuple):
    """A cell of the confusion matrix: the number of samples, its share of the true class, and its shade from 0 to 1."""

    samples: int
    share: float
    shade: float


class Mistake(NamedTuple):
    """A misclassified sample: its index in the test set, and its image as PNG in base64, None if it is not an image."""

    sample: int
    true: str
    predicted: str
    confidence: float
    image: str | None

    @classmethod
    def of(cls, found: dict[str, Any]) -> "Mistake":
        """Check an entry of results.json; the image is re-encoded, since it is inserted into HTML."""
        image = found["image"] and base64.b64encode(base64.b64decode(found["image"])).decode()
        return cls(int(found["index"]), found["true"], found["predicted"], float(found["confidence"]), image)


class Bin(NamedTuple):
    """A bin of the reliability diagram: means and number of its samples, and the 95 % interval of the accuracy.

    The interval is Wilson's (*Probable inference*, JASA 22, 1927).
    """

    confidence: float
    accuracy: float
    samples: int
    low: float
    high: float


@dataclass(frozen=True)
class Results:
    """The results of the test of a classification.

    Attributes:
        classes: names of the classes.
        matrix: rows are true classes, columns predicted ones; None if there are too many classes to show it.
        recall: share of each true class that is predicted as such; None for a class without samples.
        precision: share of the samples predicted as each class that are of it; None if there are none.
        confusions: the most frequent confusions.
        ece: expected calibration error.
        bins: non-empty bins, by confidence.
        mistakes: misclassified samples, the most confident first.
    """

    classes: list[str]
    matrix: list[list[Cell]] | None
    recall: list[float | None]
    precision: list[float | None]
    confusions: list[Confusion]
    ece: float
    bins: list[Bin]
    mistakes: list[Mistake]


def read_results(directory: Path) -> Results | None:
    """Read the results of a run's test; None if it has none, or they are not what this project writes."""
    try:
        results = json.loads((directory / RESULTS).read_text())
        classes, counts = [str(name) for name in results["classes"]], results["confusion"]
        if any(len(row) != len(classes) for row in [counts, *counts]):
            return None
        totals, columns = [sum(row) for row in counts], [sum(column) for column in zip(*counts, strict=True)]
        bins = results["calibration"]["bins"]
        return Results(
            classes=classes,
            matrix=_matrix(counts, totals) if len(classes) <= _CLASSES else None,
            recall=[_ratio(row[number], totals[number]) for number, row in enumerate(counts)],
            precision=[_ratio(row[number], columns[number]) for number, row in enumerate(counts)],
            confusions=_confusions(classes, counts, totals),
            ece=float(results["calibration"]["ece"]),
            bins=[_bin(one["confidence"], one["accuracy"], one["count"]) for one in bins if one["count"]],
            mistakes=[Mistake.of(one) for one in results["mistakes"]],
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _matrix(counts: Sequence[Sequence[int]], totals: Sequence[int]) -> list[list[Cell]]:
    def cell(count: int, total: int, is_correct: bool) -> Cell:
        share = count / total if total else 0.0
        # The square root makes a confusion of 1 % visible, a tenth of the full shade.
        return Cell(count, share, 0.5 * share if is_correct else math.sqrt(share))

    return [
        [cell(count, totals[true], true == predicted) for predicted, count in enumerate(row)]
        for true, row in enumerate(counts)
    ]


def _confusions(classes: Sequence[str], counts: Sequence[Sequence[int]], totals: Sequence[int]) -> list[Confusion]:
    found = [
        Confusion(classes[true], classes[predicted], count, count / totals[true])
        for true, row in enumerate(counts)
        for predicted, count in enumerate(row)
        if count and true != predicted
    ]
    return sorted(found, key=lambda one: -one.samples)[: _CONFUSIONS if len(classes) <= _CLASSES else 4 * _CONFUSIONS]


def _bin(confidence: float, accuracy: float, count: int) -> Bin:
    center = (accuracy + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    half = _Z / (1 + _Z**2 / count) * math.sqrt(accuracy * (1 - accuracy) / count + _Z**2 / (4 * count**2))
    return Bin(confidence, accuracy, count, max(0.0, center - half), min(1.0, center + half))
