"""Results of the test as shown in reports."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binomtest

from src.views.results import read_results

RESULTS: dict[str, Any] = {
    "classes": ["cat", "dog", "fox"],
    "confusion": [[90, 8, 2], [0, 5, 5], [0, 0, 0]],
    "calibration": {
        "ece": 0.0125,
        "bins": [{"confidence": 0.4, "accuracy": 0.25, "count": 8}, {"confidence": 0.9, "accuracy": 1.0, "count": 102}],
    },
    "mistakes": [{"index": 3, "true": "cat", "predicted": "dog", "confidence": 0.9, "image": None}],
}


def write(folder: Path, **values: Any) -> Path:
    (folder / "results.json").write_text(json.dumps({**RESULTS, **values}))
    return folder


def test_shares_are_those_of_the_true_class(tmp_path: Path):
    results = read_results(write(tmp_path))
    assert results
    assert results.matrix
    assert [[cell.samples for cell in row] for row in results.matrix] == RESULTS["confusion"]
    assert results.matrix[0][1].share == 0.08
    assert results.recall == [0.9, 0.5, None]
    assert results.precision == [1.0, 5 / 13, 0.0]
    assert [tuple(one) for one in results.confusions] == [
        ("cat", "dog", 8, 0.08),
        ("dog", "fox", 5, 0.5),
        ("cat", "fox", 2, 0.02),
    ]


def test_intervals_of_the_accuracy_are_wilsons(tmp_path: Path):
    results = read_results(write(tmp_path))
    assert results
    for one in results.bins:
        expected = binomtest(round(one.accuracy * one.samples), one.samples).proportion_ci(method="wilson")
        assert (one.low, one.high) == pytest.approx(tuple(expected), abs=1e-4)


def test_of_many_classes_the_confusions_are_shown(tmp_path: Path):
    count = 100
    confusion = [[10 * (row == column) + (column == row + 1) for column in range(count)] for row in range(count)]
    results = read_results(write(tmp_path, classes=[str(number) for number in range(count)], confusion=confusion))
    assert results
    assert results.matrix is None
    assert len(results.confusions) == 20
    assert results.confusions[0] == ("0", "1", 1, 1 / 11)


@pytest.mark.parametrize(
    "damage",
    [
        {"confusion": [[1, 2]]},
        {"calibration": {}},
        {"mistakes": [{"image": "<script>"}]},
        {"classes": None},
        {"classes": ["cat"]},
    ],
)
def test_what_this_project_does_not_write_is_not_shown(tmp_path: Path, damage: dict[str, Any]):
    assert read_results(tmp_path) is None
    assert read_results(write(tmp_path, **damage)) is None


def test_images_are_encoded_anew(tmp_path: Path):
    image = base64.b64encode(b"\x89PNG").decode()
    results = read_results(write(tmp_path, mistakes=[{**RESULTS["mistakes"][0], "image": f"{image}\"'>"}]))
    assert results
    assert results.mistakes[0].image == image
