"""Data of a report's charts."""

import math
import statistics
from itertools import pairwise

import pytest

from src.views.charts import Compared, axes, chart_data, charts, thin
from tests.conftest import MakeRun
from tests.helpers.runs import log


def test_the_peaks_of_a_thinned_curve_remain():
    values = [math.sin(number / 40) for number in range(2000)]
    values[777], values[1234] = 5.0, -5.0
    kept = thin(values, 100)
    assert len(kept) <= 100
    assert all(a < b for a, b in pairwise(kept))
    assert {0, 777, 1234, 1999} <= {*kept}


@pytest.mark.parametrize("count", [0, 1, 4, 6])
def test_a_short_curve_is_not_thinned(count: int):
    assert thin([1.0] * count, 6) == list(range(count))


def test_values_that_are_not_finite_do_not_hide_peaks():
    values = [math.nan if number % 2 else float(number) for number in range(1000)]
    values[500] = math.inf
    kept = [values[number] for number in thin(values, 20)]
    assert max(value for value in kept if math.isfinite(value)) == 998.0
    assert 554.0 in kept  # the highest of its part, which includes Inf


def test_replicates_have_their_mean_and_spread_next_to_their_curves(make_run: MakeRun):
    runs = [make_run(f"seed={seed}", f"optimizer.lr={lr}") for lr in (0.01, 0.1) for seed in (1, 2, 3)]
    for number, run in enumerate(runs):
        log(run, "val/loss", 0.5 + number, 0.25 * number)
    data = charts(Compared.of(runs))
    [chart] = data["charts"]
    means = [line for line in chart["lines"] if "n" in line]
    singles = [line for line in chart["lines"] if "run" in line]
    assert [line["group"] for line in means] == [0, 1]
    assert [line["values"] for line in singles] == [[0.5 + number, 0.25 * number] for number in range(6)]
    assert means[1]["values"] == [statistics.fmean([3.5, 4.5, 5.5]), statistics.fmean([0.75, 1.0, 1.25])]
    assert means[1]["std"] == pytest.approx([1.0, 0.25])
    assert means[1]["n"] == [3, 3]
    assert {line["steps"] for line in chart["lines"]} == {0}
    assert data["steps"] == [(10, 20)]


def test_a_failed_replicate_has_a_curve_but_no_part_in_the_mean(make_run: MakeRun):
    runs = [make_run(f"seed={seed}", status=status) for seed, status in enumerate(("done", "done", "failed"))]
    for value, run in zip((1.0, 3.0, 100.0), runs, strict=True):
        log(run, "val/loss", value, value)
    [chart] = charts(Compared.of(runs))["charts"]
    assert [line["values"] for line in chart["lines"] if "n" in line] == [[2.0, 2.0]]
    assert [line["run"] for line in chart["lines"] if "run" in line] == [0, 1, 2]


def test_training_and_validation_share_a_chart(make_run: MakeRun):
    run = make_run("seed=1")
    for tag in ("train/loss", "val/loss", "train/loss_step", "lr", "train_f1", "val_f1", "samples"):
        log(run, tag, 1.0, 2.0)
    log(run, "test/loss", 1.0)
    found = charts(Compared.of([run]))["charts"]
    tags = {chart["title"]: [line["tag"] for line in chart["lines"]] for chart in found}
    assert tags == {
        "loss": ["train/loss", "val/loss"],
        "f1": ["train_f1", "val_f1"],
        "lr": ["lr"],
        "train/loss_step": ["train/loss_step"],
    }
    assert [chart["title"] for chart in found if chart["is_main"]] == ["loss", "f1"]
    assert [chart["number"] for chart in found] == [0, 1, 2, 3]


def test_a_value_that_is_not_finite_is_a_gap(make_run: MakeRun):
    run = make_run("seed=1")
    log(run, "train/loss", 1.0, math.nan, math.inf, 2.0)
    [chart] = charts(Compared.of([run]))["charts"]
    assert chart["lines"][0]["values"] == [1.0, None, None, 2.0]


def test_configurations_are_labelled_by_what_differs(make_run: MakeRun):
    runs = [
        make_run("optimizer.lr=0.1", "seed=1"),
        make_run("optimizer.lr=0.1", "seed=2"),
        make_run("optimizer.lr=0.2"),
    ]
    assert [*Compared.of(runs).labels] == [["lr=0.1"], ["lr=0.2"]]
    named = [make_run("optimizer.lr=0.1", name="low"), make_run("optimizer.lr=0.2", name="high")]
    assert [*Compared.of(named).labels] == [["low", "lr=0.1"], ["high", "lr=0.2"]]
    alone = Compared.of(runs[:1])
    assert [*alone.labels] == [[alone.ids[0]]]


def test_axes_have_the_scale_of_their_values(make_run: MakeRun):
    runs = [
        make_run(
            f"optimizer.lr={10 ** (-4 + number / 2)}",
            f"model.dropout={number / 10}",
            f"model.hidden=[{8 + number % 2}]",
            accuracy=0.5 + number / 100,
        )
        for number in range(7)
    ]
    runs.append(make_run("optimizer.lr=1", "model.dropout=0.9", "model.hidden=[9]", accuracy=None, status="failed"))
    found = {axis["name"]: axis for axis in axes(Compared.of(runs))}
    assert {name: axis["scale"] for name, axis in found.items()} == {
        "hidden": "choice",
        "dropout": "linear",
        "lr": "log",
        "best/val/acc": "linear",
        "test/acc": "linear",
    }
    assert found["dropout"]["values"] == [number / 10 for number in range(7)] + [0.9]
    assert found["hidden"]["values"][:2] == ["[8]", "[9]"]
    assert found["test/acc"]["values"][-1] is None


def test_different_values_are_different_choices(make_run: MakeRun):
    runs = [make_run(f"optimizer.lr={lr}", accuracy=lr) for lr in (0.012345, 0.012346, 0.5)]
    [axis, *_] = axes(Compared.of(runs))
    assert axis["values"] == ["0.012345", "0.012346", "0.5"]


def test_without_a_difference_there_are_no_axes(make_run: MakeRun):
    runs = [make_run(f"seed={seed}", accuracy=seed / 4) for seed in (1, 2, 3)]
    assert axes(Compared.of(runs)) == []


def test_runs_are_scored_by_one_metric_of_which_the_highest_score_is_the_best(make_run: MakeRun):
    loss = {"metric": "val/loss", "value": 0.25, "epoch": 1, "checkpoint": None}
    runs = [make_run("monitor=val/loss", f"seed={seed}", best=loss | {"value": seed}, accuracy=None) for seed in (1, 2)]
    data = chart_data(Compared.of([*runs, make_run("seed=3", accuracy=None, status="failed")]))
    assert (data["metric"], data["scores"]) == ("best/val/loss", [-1, -2, None])
    data = chart_data(Compared.of([make_run("seed=3"), make_run("seed=4", accuracy=0.5)]))
    assert (data["metric"], data["scores"]) == ("best/val/acc", [0.9, 0.5])


def test_numbers_that_json_cannot_express_are_words(make_run: MakeRun):
    runs = [make_run("seed=1", accuracy=number / 10) for number in range(8)]
    for number, run in enumerate(runs):
        run.values["config"]["optimizer"]["eps"] = 10.0**number if number else math.inf
    [axis, *_] = axes(Compared.of(runs))
    assert (axis["scale"], axis["values"][:3]) == ("choice", ["inf", "10.0", "100.0"])


def test_the_objectives_of_a_search_have_columns_axes_and_a_front(make_run: MakeRun):
    costs = [(0.9, 300.0), (0.8, 1.0), (0.7, 2.0), (None, 3.0)]
    runs = [
        make_run(
            f"optimizer.lr={number}",
            accuracy=accuracy,
            metrics={"joules": cost},
            status="done" if accuracy else "failed",
        )
        for number, (accuracy, cost) in enumerate(costs, 1)
    ]
    objectives = {"joules": "min", "best/val/acc": "max"}
    data = chart_data(Compared.of(runs, objectives))
    assert data["front"]["runs"] == [0, 1]
    joules, accuracy = data["front"]["objectives"]
    assert (joules["name"], joules["mode"], joules["is_log"], joules["values"]) == (
        "joules",
        "min",
        True,
        [300, 1, 2, None],
    )
    assert accuracy["values"] == [0.9, 0.8, 0.7, None]
    assert [axis["name"] for axis in data["axes"]] == ["lr", "joules", "best/val/acc"]
    assert (data["metric"], data["scores"][:3]) == ("joules", [-300, -1, -2])
    assert chart_data(Compared.of(runs))["front"] is None
