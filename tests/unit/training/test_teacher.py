"""The teacher of a distillation: the run in the directory that is named, if it fits the student's data."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from src import runs
from src.config import targets
from src.config.command_line import parse
from src.config.compose import preflight
from src.errors import ConfigError, UserError
from src.records.record import Record
from src.tasks.distillation import Distiller
from src.training.teacher import mismatch
from tests.helpers.fitting import fit_in

ID = "r20260101-000000-0000"


class DerivedTask(Distiller):
    """A task derived from ``Distiller``."""


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    path = tmp_path / "table.csv"
    path.write_text("\n".join(["a,b,name", *(f"{row % 7},{row % 5},{'xyz'[row % 3]}" for row in range(60))]))
    return ["data=csv", f"data.path={path}", "data.target=name", "trainer=cpu", "trainer.max_epochs=1"]


def trained(directory: Path, words: list[str]) -> Path:
    directory.parent.mkdir(parents=True, exist_ok=True)
    fit_in(directory, words)
    Record.load(directory).update(status="done")
    return directory


def test_a_run_is_loaded_from_the_directory_that_is_named(
    tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OUTPUTS_DIR", str(tmp_path / "outputs"))
    original = trained(tmp_path / "outputs" / "runs" / ID, words)
    copy = shutil.copytree(original, tmp_path / "elsewhere" / ID)

    def teacher(directory: Path, *more: str) -> str:
        [config] = preflight(parse([*words, "task=distillation", f"task.teacher={directory}", *more]))
        return config["task"]["teacher"]

    assert (teacher(original), teacher(copy)) == (ID, str(copy))
    monkeypatch.setattr(targets, "trusted_packages", lambda: ("src", "tests"))
    derived = f"task._target_={DerivedTask.__module__}.{DerivedTask.__qualname__}"
    assert teacher(original, derived) == ID

    runs.load(str(copy)).model()
    (copy / "checkpoints" / "best.ckpt").unlink()
    runs.load(ID).model()
    with pytest.raises(UserError, match=str(copy)):
        runs.load(str(copy)).model()
    shutil.rmtree(original)
    assert teacher(copy) == str(copy)


def test_a_teacher_with_other_test_samples_is_used_with_a_warning(tmp_path: Path, words: list[str]):
    teacher = trained(tmp_path / "teacher", words)
    words = [*words, "task=distillation", f"task.teacher={teacher}"]
    assert "warnings" not in Record.load(trained(tmp_path / "same", words)).values
    [warning] = Record.load(trained(tmp_path / "other", [*words, "seed=1"])).values["warnings"]
    assert warning["text"].endswith("seed 1: it may have been trained on those that test this run")


def test_missing_data_of_the_teacher_is_reported_for_the_teacher(tmp_path: Path, words: list[str]):
    teacher = trained(tmp_path / "teacher", words)
    (tmp_path / "table.csv").rename(tmp_path / "moved.csv")
    words[1] = f"data.path={tmp_path / 'moved.csv'}"
    with pytest.raises(ConfigError, match=f"^task.teacher={teacher}: .*table.csv does not exist"):
        fit_in(tmp_path / "student", [*words, "task=distillation", f"task.teacher={teacher}"])


TWELVE = tuple("abcdefghijkl")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, None),
        ({"input_shape": (3,)}, "samples of shape (2,), and the student's are of shape (3,)"),
        ({"class_names": TWELVE[:2]}, "12 classes, and the student has 2"),
        ({"class_names": (*TWELVE[:11], "z")}, "other classes (number 11 is 'l', and the student's is 'z')"),
        ({"feature_names": ("two", "one")}, "other features (number 0 is 'one', and the student's is 'two')"),
    ],
)
def test_a_teacher_needs_the_same_samples(changed: dict[str, Any], expected: str | None):
    data = {"input_shape": (2,), "class_names": TWELVE, "feature_names": ("one", "two")}
    assert mismatch(SimpleNamespace(**data), SimpleNamespace(**{**data, **changed})) == expected
