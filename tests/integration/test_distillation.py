"""task=distillation: a student learns from a run of this project, and needs it for training alone."""

import shutil
from pathlib import Path

import pytest

from src.errors import Interrupted
from src.training.weights import load_model
from tests.conftest import SMALL, Command
from tests.helpers.fitting import fit_in
from tests.helpers.outcome import differences, outcome
from tests.helpers.resume import SHORT, Cut

DISTILL = ["task=distillation", "task.teacher=teacher"]


def test_a_student_learns_from_a_run_and_resumes_exactly(train_here: Command, tmp_path: Path):
    trained = train_here("name=teacher", "data.mean=33.3", "data.std=78.6")
    assert trained.status == 0, trained.stderr
    words = [*SMALL, *SHORT, *DISTILL, "model.hidden=[8]"]
    fit_in(tmp_path / "whole", words)
    for chunks in (3, 7):
        with pytest.raises(Interrupted):
            fit_in(tmp_path / "cut", words, [Cut(chunks, "told")])
    fit_in(tmp_path / "cut", words)
    assert differences(outcome(tmp_path / "cut"), outcome(tmp_path / "whole")) == []

    distilled = train_here(*DISTILL, "model.hidden=[8]")
    assert distilled.status == 0, distilled.stderr
    assert distilled.runs[1]["config"]["task"]["teacher"] == trained.runs[0]["id"]
    shutil.rmtree(trained.directories[0])
    student = load_model(distilled.directories[0] / "checkpoints/best.ckpt")
    assert {name.partition(".layers")[0] for name in student.state_dict()} == {"classifier.net"}


def test_a_teacher_that_does_not_fit_is_refused(train_here: Command):
    assert train_here("name=teacher", "trainer.max_epochs=1").status == 0
    for words, message in (
        (["task.teacher=nobody"], "task.teacher=nobody: there is no run of that id, name or directory"),
        (
            ["data.only_classes=[3,4]"],
            "was trained on 10 classes, and the student has 2: choose a run on the same data.",
        ),
        (["-m", "task.teacher=latest", "seed=1,2"], "task.teacher=latest may change while a sweep runs"),
    ):
        refused = train_here(*DISTILL, *words)
        assert refused.status == 2
        assert message in refused.stderr
        assert len(refused.stderr.splitlines()) == len(refused.runs) == 1
