"""The names of runs in TensorBoard."""

import re
from pathlib import Path

import pytest

from src.dashboard.names import run_names
from src.dashboard.server import COLOR_GROUP
from tests.conftest import MakeRun


def test_runs_are_named_after_what_sets_them_apart(make_run: MakeRun):
    made = [
        make_run("seed=1", "optimizer=sgd", sweep="s20261126-142233-ab12"),
        make_run("seed=2", "optimizer=sgd", sweep="s20261126-142233-ab12", status="failed"),
        make_run(
            "seed=1", "optimizer=adam", "optimizer.lr=0.0123456", sweep="s20261126-142233-ab12", pruned_in_epoch=2
        ),
        make_run("seed=7", "name=my-net"),
        make_run("seed=8", "name=my-net"),
        make_run("model.hidden=[8]"),
        make_run("model.hidden=[8,8]", status="interrupted"),
    ]
    assert [name.run for name in run_names(made)] == [
        "optimizer=sgd lr=0.1 ab12 seed 1 ab12-000",  # since other ids contain 000
        "optimizer=sgd lr=0.1 ab12 seed 2 001 (failed)",
        "optimizer=adam lr=0.01235 ab12 seed 1 002 (pruned)",
        "my-net seed 7 0003",
        "my-net seed 8 0004",
        "hidden=[8] seed 0 0005",
        "hidden=[8,8] seed 0 0006 (interrupted)",
    ]
    alone = run_names(made[:3])
    assert [name.run for name in alone][2] == "optimizer=adam lr=0.01235 seed 1 002 (pruned)"
    assert [name.configuration for name in alone] == [*["optimizer=sgd lr=0.1"] * 2, "optimizer=adam lr=0.01235"]


def test_folds_are_replicates_as_seeds_are(make_run: MakeRun):
    folds = [
        make_run(f"seed={seed}", "data.folds=3", f"data.fold={fold}", f"optimizer.lr={lr}", sweep="s1")
        for lr in (0.1, 0.2)
        for seed in (0, 1)
        for fold in (0, 2)
    ]
    names = run_names(folds)
    assert (names[0].run, names[3].run) == ("lr=0.1 seed 0 fold 0 000", "lr=0.1 seed 1 fold 2 003")
    assert [name.configuration for name in names] == [*["lr=0.1"] * 4, *["lr=0.2"] * 4]


def test_a_configuration_has_one_name(make_run: MakeRun):
    made = [make_run("seed=1", "name=a"), make_run("seed=2", "name=b"), make_run("seed=1", "name=a", "optimizer.lr=1")]
    # That of its first run, since runs with different names may have the same settings.
    assert [name.configuration for name in run_names(made)] == ["lr=0.001 a", "lr=0.001 a", "lr=1.0 a"]
    assert [name.configuration for name in run_names([make_run("seed=1")])] == ["all"]


@pytest.mark.parametrize("words", [[], ["name=a"], ["optimizer.lr=0.1"]])
def test_the_seeds_and_the_mean_of_a_configuration_have_one_color(make_run: MakeRun, words: list[str]):
    made = [make_run(*words, f"seed={seed}") for seed in (1, 2)]
    for records in (made, [*made, make_run("optimizer.lr=0.2", "seed=1")]):
        names = run_names(records)
        shown = [name.run for name in names[:2]] + [f"{names[0].configuration} mean of 2"]
        groups = [re.fullmatch(COLOR_GROUP, name) for name in shown]
        assert len({group and group[1] for group in groups}) == 1


@pytest.mark.parametrize("name", ["a/b", "..", ".", "ä" * 300, "\u202e", "x" * 300, "new\nline", "\ud800"])
def test_any_name_is_a_folders(make_run: MakeRun, tmp_path: Path, name: str):
    records = [make_run("seed=1"), make_run("seed=1")]
    records[0].values["name"] = name
    [found, _] = run_names(records)
    (tmp_path / "root").mkdir()
    for folder in (found.run, f"{found.configuration} mean of 100"):
        made = tmp_path / "root" / folder
        made.mkdir(parents=True)
        assert made.resolve().parent == (tmp_path / "root").resolve()
    assert found.run.endswith("0000")
