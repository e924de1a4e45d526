"""The names of runs in TensorBoard."""

from pathlib import Path

import pytest

from src.dashboard.names import readable_names
from tests.conftest import MakeRun

# -- names


def test_runs_are_named_after_what_sets_them_apart(make_run: MakeRun):
    made = [
        make_run("seed=1", "optimizer=sgd", sweep="s1"),
        make_run("seed=2", "optimizer=sgd", sweep="s1", status="failed"),
        make_run("seed=1", "optimizer=adam", "optimizer.lr=0.3", sweep="s1", pruned_in_epoch=2),
        make_run("seed=7", "name=mine"),
        make_run("seed=8", "name=mine"),
        make_run("model.hidden=[8]"),
        make_run("model.hidden=[8,8]", status="interrupted"),
    ]
    names = readable_names(made)
    assert names[0] == "s1/optimizer=sgd lr=0.1/seed 1 000"
    assert names[1] == "s1/optimizer=sgd lr=0.1/seed 2 001 (failed)"
    assert names[2] == "s1/optimizer=adam lr=0.3/seed 1 002 (pruned)"
    assert names[3].startswith("mine/seed 7 r2026")
    assert Path(names[3]).parent == Path(names[4]).parent
    assert names[5].startswith("hidden=[8]/seed 0 r2026")
    assert names[6].endswith(" (interrupted)")
    assert len(set(names)) == 7


def test_folds_are_replicates_as_seeds_are(make_run: MakeRun):
    folds = [
        make_run(f"seed={seed}", "data.folds=3", f"data.fold={fold}", f"optimizer.lr={lr}", sweep="s1")
        for lr in (0.1, 0.2)
        for seed in (0, 1)
        for fold in (0, 2)
    ]
    names = readable_names(folds)
    assert names[0] == "lr=0.1/seed 0 fold 0 000"
    assert names[3] == "lr=0.1/seed 1 fold 2 003"
    assert len({Path(name).parent for name in names}) == 2


@pytest.mark.parametrize("name", ["a/b", "..", ".", "ä" * 100, "\u202e", "x" * 100, "new\nline", "\ud800"])
def test_any_name_is_a_folders(make_run: MakeRun, tmp_path: Path, name: str):
    record = make_run("seed=1")
    record.values["name"] = name
    [folder] = readable_names([record])
    (tmp_path / "root").mkdir()
    made = tmp_path / "root" / folder
    made.mkdir(parents=True)
    assert made.resolve().is_relative_to((tmp_path / "root").resolve())
    assert len(made.relative_to(tmp_path / "root").parts) <= 2
