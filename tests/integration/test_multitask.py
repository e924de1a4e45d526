"""task=multitask: a run like any other, resumed exactly and evaluated in any number of processes."""

from pathlib import Path

import pytest

from src.analysis.evaluation import measure
from src.errors import Interrupted, UserError
from src.records.record import Record
from src.training.weights import trained as load_pipeline
from tests.conftest import SMALL, Command, Fit
from tests.helpers.fitting import fit_in
from tests.helpers.outcome import differences, outcome
from tests.helpers.resume import SHORT, Cut


def test_it_resumes_exactly_with_its_learned_weights(tmp_path: Path):
    words = [*SMALL, *SHORT, "task=multitask", "task.weights=learned"]
    whole = fit_in(tmp_path / "whole", words)
    for batches in (3, 7):
        with pytest.raises(Interrupted):
            fit_in(tmp_path / "cut", words, [Cut(batches, "told")])
    fit_in(tmp_path / "cut", words)
    expected = outcome(tmp_path / "whole")
    assert differences(outcome(tmp_path / "cut"), expected) == []
    assert expected["state_dict"]["loss.log_variances"].ne(0).all()
    assert expected["curves"]["weight/slant"][-1][1] == pytest.approx(whole["metrics"]["weight/slant"])


def test_two_processes_train_and_measure_what_one_does(train: Command, fit_here: Fit):
    trained = train("experiment=multitask", "trainer.accelerator=cpu", "trainer.devices=2")
    assert trained.status == 0, trained.stderr
    [run], [directory] = trained.runs, trained.directories
    assert run["best"]["metric"] == "val/loss"
    assert "sync_dist" not in (directory / "train.log").read_text()  # in a warning of Lightning's
    alone = fit_here("experiment=multitask", "trainer=cpu")["metrics"]
    for name in ("train/loss", "val/loss", "val/slant_mae", "weight/digit", "weight/parity", "weight/slant"):
        assert alone[name] == pytest.approx(run["metrics"][name], rel=1e-4)
    for split, checkpoint in (("val", "last"), ("test", "best")):
        logged = {name: one for name, one in run["metrics"].items() if name.startswith(split)}
        assert {f"{split}/{name}" for name in ("loss", "digit_acc", "parity_acc", "slant_mae")} == logged.keys()
        assert measure(Record.load(directory), checkpoint, split).entry["metrics"] == pytest.approx(logged, rel=1e-6)

    with pytest.raises(UserError, match="this command is for task=classification"):  # predict, export, explain
        load_pipeline(Record.load(directory))
