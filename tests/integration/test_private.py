"""task=private: the budget is in the record, the table and the checkpoint, and a resumed run neither forgets nor repeats it."""

import json
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from opacus.accountants import PRVAccountant

from src.errors import Interrupted, UserError
from src.training.weights import load_model
from tests.conftest import SMALL, Command
from tests.helpers.fitting import fit_in
from tests.helpers.outcome import differences, outcome
from tests.helpers.resume import SHORT, Cut

# 16 steps an epoch; each of the 512 samples is in a batch with probability 1/16.
PRIVATE = ["experiment=private", "trainer=cpu", "data.batch_size=32"]
NOISE = ["task.epsilon=null", "task.noise=2"]


def spent(steps: int) -> float:
    accountant = PRVAccountant()
    accountant.history = [(2.0, 1 / 16, steps)]
    return accountant.get_epsilon(1e-5)


def saved(directory: Path) -> list[Any]:
    return torch.load(directory / "checkpoints/last.ckpt", weights_only=True)["privacy"]


def test_the_budget_is_recorded_and_shown_and_the_model_is_like_any_other(
    train_here: Command, here: Command, monkeypatch: pytest.MonkeyPatch
):
    done = train_here(*PRIVATE, "task.delta=1e-4", "task.epsilon=5")
    assert done.status == 0, done.stderr
    [run], [directory] = done.runs, done.directories
    assert 4.9 < run["metrics"]["privacy/epsilon"] <= 5
    [(noise, probability, steps)] = saved(directory)
    assert (probability, steps, run["metrics"]["privacy/noise"]) == (1 / 16, 32, pytest.approx(noise))
    listed = here("runs", "ls").stdout.splitlines()
    assert dict(zip(*(line.split("\t") for line in listed), strict=True))["privacy/epsilon"].startswith("4.99")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "opacus", None)  # needed for training only
        names = load_model(directory / "checkpoints/best.ckpt").state_dict().keys()
    assert {name.partition(".layers")[0] for name in names} == {"classifier.net"}

    refused = here("train", f"resume={run['id']}", "trainer.max_epochs=3")
    assert (refused.status, refused.runs) == (2, [run])
    assert "was computed for 2 epochs, and more of them would spend more than task.epsilon=5" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_a_resumed_run_spends_what_an_uninterrupted_one_does(tmp_path: Path):
    words = [*SMALL, *PRIVATE, *NOISE, *SHORT]
    fit_in(tmp_path / "whole", words)
    # Told to stop after 5 steps; then killed after 20 more, nine steps after the end of the first epoch was saved.
    for batches, how, error, steps in ((5, "told", Interrupted, 5), (20, "killed", RuntimeError, 16)):
        with pytest.raises(error):
            fit_in(tmp_path / "cut", words, [Cut(batches, how)])
        assert saved(tmp_path / "cut") == [[2.0, 1 / 16, steps]]
        # The record states what the saved weights have spent, also within an epoch.
        record = json.loads((tmp_path / "cut/run.json").read_text())
        assert record["metrics"]["privacy/epsilon"] == pytest.approx(spent(steps))
    fit_in(tmp_path / "cut", words)
    expected = outcome(tmp_path / "whole")
    assert differences(outcome(tmp_path / "cut"), expected) == []
    assert saved(tmp_path / "cut") == saved(tmp_path / "whole") == [[2.0, 1 / 16, 48]]
    assert [value for _, value in expected["curves"]["privacy/epsilon"]] == pytest.approx(
        [spent(steps) for steps in (16, 32, 48)]
    )


def test_with_given_noise_a_run_may_be_resumed_for_more_epochs(train_here: Command, here: Command):
    [run] = train_here(*PRIVATE, *NOISE).runs
    done = here("train", f"resume={run['id']}", "trainer.max_epochs=3")
    assert done.status == 0, done.stderr
    assert done.runs[0]["metrics"]["privacy/epsilon"] == pytest.approx(spent(48))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["task.noise=1"], "task.epsilon=3 and task.noise=1: set one of them, and the other to null."),
        (["task.epsilon=null"], "task.epsilon=null and task.noise=null: set one of them, and the other to null."),
        (["model.norm=batch"], "task=private: batch normalisation makes the output for a sample depend on the others"),
        (["task.epsilon=60"], "task.epsilon=60 must be"),
    ],
)
def test_what_cannot_be_private_is_refused_before_the_run(train_here: Command, words: list[str], message: str):
    refused = train_here(*PRIVATE, *words)
    assert refused.status == 2
    assert message in refused.stderr
    assert not refused.runs


def test_a_missing_opacus_is_named(train_here: Command, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "opacus", None)
        refused = train_here(*PRIVATE)
    assert refused.status == 2
    assert refused.stderr == (
        "error: task: PrivateClassifier needs opacus, which is not installed: make install-all, or pip install opacus.\n"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["callbacks=adversarial"], "and task=private guarantees nothing: leave it out."),
        (
            ["schedule=plateau", "schedule.monitor=train/loss"],
            "schedule monitors train/loss, which is computed",
        ),
        (["monitor=train/loss"], "ModelCheckpoint monitors train/loss, which is computed from the training samples"),
    ],
)
def test_what_depends_on_single_training_samples_is_refused(train_here: Command, words: list[str], message: str):
    refused = train_here(*PRIVATE, *NOISE, *words)
    assert refused.status == 1
    assert message in refused.stderr
    assert "Traceback" not in refused.stderr


class Unfreeze(pl.callbacks.BaseFinetuning):
    def freeze_before_training(self, pl_module: Any) -> None:
        self.freeze(pl_module.net.layers[0])

    def finetune_function(self, pl_module: Any, epoch: int, optimizer: Any) -> None:
        if epoch == 1:
            pl_module.net.layers[0].requires_grad_(True)


def test_parameters_that_are_unfrozen_during_the_training_are_refused(tmp_path: Path):
    with pytest.raises(UserError, match="a callback changed which parameters are trained"):
        fit_in(tmp_path, [*SMALL, *PRIVATE, *NOISE, "trainer.max_epochs=2"], [Unfreeze()])


def test_membership_is_inferred_from_memorized_samples_and_not_from_private_weights(train_here: Command, here: Command):
    small = ["data.train_size=200", "data.val_size=50", "model.hidden=[64]"]
    memorized = train_here(*small, "trainer.max_epochs=60", "trainer=cpu", small=False)
    private = train_here(
        *small, *PRIVATE, "data.batch_size=50", "trainer.max_epochs=2", *NOISE[:1], "task.noise=20", small=False
    )
    assert memorized.status == private.status == 0, memorized.stderr + private.stderr
    found = {}
    for name, directory in zip(("memorized", "private"), private.directories, strict=True):
        printed = here("evaluate", str(directory), "--privacy", "checkpoint=last", "--json")
        assert printed.status == 0, printed.stderr
        found[name] = json.loads(printed.stdout)
        assert json.loads((directory / "run.json").read_text())["membership"] == found[name]
        assert found[name]["members"] == found[name]["non_members"] == 200
    low, high = found["private"]["attacks"]["loss"]["auc_interval"]
    assert low < 0.5 < high
    assert found["memorized"]["attacks"]["loss"]["auc_interval"][0] > 0.6
    assert found["memorized"]["train/acc"] > found["memorized"]["test/acc"] + 0.1
    text = here("evaluate", str(private.directories[0]), "--privacy").stdout
    assert "200 training samples against 200 test samples, as many of each class" in text
    assert "TPR at 0.1% FPR" in text
    held_out = here("evaluate", str(private.directories[0]), "--privacy", "split=val").stdout
    assert "50 training samples against 50 val samples" in held_out
