"""What a set of runs has shown: ``findings``."""

import pytest

from src.records.findings import findings
from src.records.record import Record
from tests.conftest import MakeRun


def test_runs_are_counted_and_the_best_is_named(make_run: MakeRun):
    best = make_run("optimizer.lr=0.01", accuracy=0.9)
    others = [
        make_run("optimizer.lr=0.02", accuracy=0.8),
        make_run("optimizer.lr=0.02", "seed=2", accuracy=0.6),
        make_run(
            "optimizer.lr=0.03",
            accuracy=None,
            best={"metric": None, "value": None, "epoch": None, "checkpoint": None},  # as before the first checkpoint
            status="failed",
            error="RuntimeError: no",
        ),
    ]
    found = findings([*others, best], 10)
    assert (found["runs"], found["status"]) == (4, {"done": 3, "failed": 1})
    [group] = found["groups"]
    assert (group["data"], group["metric"], group["mode"], group["finished"]) == ("MNIST", "val/acc", "max", 3)
    assert (group["best"]["id"], group["best"]["value"]) == (best.values["id"], 0.9)
    assert group["best"]["settings"]["optimizer.lr"] == 0.01
    assert group["best"]["command"] == best.values["command"]
    tried = group["tried"]["optimizer.lr"]
    assert (tried["distinct"], tried["range"]) == (3, [0.01, 0.03])
    assert tried["values"] == [
        {"value": 0.01, "runs": 1, "failed": 0, "scored": 1, "best": 0.9, "mean": 0.9},
        {"value": 0.02, "runs": 2, "failed": 0, "scored": 2, "best": 0.8, "mean": pytest.approx(0.7)},
        {"value": 0.03, "runs": 1, "failed": 1, "scored": 0, "best": None, "mean": None},
    ]


def test_data_sets_and_metrics_are_not_mixed(make_run: MakeRun):
    make = [
        make_run("data=fashion_mnist", accuracy=0.7),
        make_run("seed=1", accuracy=0.9),
        make_run("monitor=val/loss", best={"metric": "val/loss", "value": 0.2, "epoch": 0, "checkpoint": "x"}),
        make_run("monitor=val/loss", best={"metric": "val/loss", "value": 0.1, "epoch": 0, "checkpoint": "x"}),
    ]
    groups = {(group["data"], group["metric"]): group for group in findings(make, 10)["groups"]}
    assert len(groups) == 3
    assert groups["MNIST", "val/loss"]["best"]["value"] == 0.1
    assert groups["MNIST", "val/acc"]["best"]["value"] == 0.9


@pytest.mark.parametrize(
    ("scores", "k", "reached", "improved_by", "since"),
    [
        ([0.5, 0.9, 0.8, 0.7], 2, True, 0.0, 2),
        ([0.5, 0.9, 0.8, 0.7], 3, False, 0.4, 2),
        ([0.5, 0.9, 0.9], 1, True, 0.0, 1),  # as good is no improvement
        ([0.5, 0.9], 2, None, None, 0),
    ],
)
def test_a_plateau_is_k_finished_runs_without_improvement(
    make_run: MakeRun, scores: list[float], k: int, reached: bool | None, improved_by: float | None, since: int
):
    records: list[Record] = [make_run(f"seed={number}", accuracy=score) for number, score in enumerate(scores)]
    records.append(make_run("seed=99", accuracy=0.99, status="interrupted"))
    [group] = findings(records, k)["groups"]
    plateau = group["plateau"]
    assert (plateau["k"], plateau["reached"], plateau["runs_since_best"]) == (k, reached, since)
    assert plateau["improved_by"] == (improved_by if improved_by is None else pytest.approx(improved_by))
    assert f"last {k} finished runs" in plateau["rule"]


def test_errors_that_differ_in_numbers_are_one(make_run: MakeRun):
    message = "OutOfMemoryError: tried to allocate {} GiB"
    records = [
        make_run("seed=1", status="failed", error=message.format(n), error_type="OutOfMemoryError") for n in "12"
    ]
    records.append(make_run("seed=2", status="failed", error="ConfigError: no", error_type="ConfigError"))
    first, second = findings(records, 10)["failed"]
    assert (first["runs"], first["error"], first["type"]) == (2, message.format(2), "OutOfMemoryError")
    assert first["ids"] == [records[1].values["id"], records[0].values["id"]]
    assert (second["runs"], second["would_fail_again"]) == (1, True)


def test_running_and_interrupted_runs_are_listed(make_run: MakeRun):
    progress = {
        "epochs_completed": 2,
        "max_epochs": 10,
        "step": 20,
        "seconds_per_epoch": 60.0,
        "at": "2099-01-01T00:02:00+00:00",
    }
    running = make_run("seed=1", status="running", progress=progress, duration_s=None)
    killed = make_run("seed=2", status="running", killed=True)
    found = findings([running, killed], 10)
    assert found["interrupted"] == [killed.values["id"]]
    [run] = found["running"]
    assert (run["id"], run["epoch"], run["epochs"]) == (running.values["id"], 3, 10)
    assert (run["metric"], run["last"]) == ("val/acc", 0.9)


def test_no_runs_have_shown_nothing():
    found = findings([], 10)
    assert (found["runs"], found["groups"], found["failed"], found["running"]) == (0, [], [], [])
