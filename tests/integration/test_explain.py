"""Explanations: which pixels they name, where the pictures go, and what they leave alone."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src.paths import ROOT
from src.views.scalars import curves
from tests.conftest import SMALL, Command
from tests.helpers.explain import explain

__all__ = ["explain"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a second, as the command leaves it."""
    outputs = tmp_path_factory.mktemp("outputs")
    call = [sys.executable, "-m", "src.train", *SMALL]
    subprocess.run(call, cwd=ROOT, env={**os.environ, "OUTPUTS_DIR": str(outputs)}, check=True, capture_output=True)
    return next(outputs.glob("runs/*"))


def images(directory: Path) -> set[str]:
    events = EventAccumulator(str(directory), size_guidance={"images": 0})
    events.Reload()
    return {tag for tag in events.Tags()["images"] if tag.startswith("explain/")}


def test_the_worst_mistakes_are_explained_unless_numbers_are_given(run: Path, explain: Any):
    mistakes = json.loads((run / "results.json").read_text())["mistakes"]
    status, said, _ = explain(str(run), "steps=20", "--mistakes", "4")
    assert status == 0
    for one in mistakes[:4]:
        title = f"true {one['true']}, predicted {one['predicted']} ({one['confidence']:.1%})"
        assert f"{one['index']:>5}  {title}" in said
    assert "largest gap" in said
    assert images(run) == {f"explain/integrated_gradients/{one['index']}" for one in mistakes[:4]}
    for one in mistakes[:4]:
        with Image.open(run / "explanations" / f"{one['index']:05d}-integrated_gradients.png") as picture:
            assert picture.size == (640, 320)


def test_a_second_call_takes_the_place_of_the_first_and_touches_nothing_else(run: Path, explain: Any):
    explain(str(run), "7", "method=saliency")
    others = {path: path.read_bytes() for path in run.glob("events.*") if not path.name.endswith("-saliency")}
    before, record = curves(run), (run / "run.json").read_bytes()
    status, said, _ = explain(str(run), "0", "3-4", "3", "method=saliency", "checkpoint=last")
    assert status == 0
    assert "3 images" in said
    assert {tag for tag in images(run) if "saliency" in tag} == {f"explain/saliency/{number}" for number in (0, 3, 4)}
    assert {path: path.read_bytes() for path in run.glob("events.*") if not path.name.endswith("-saliency")} == others
    assert curves(run) == before
    assert (run / "run.json").read_bytes() == record


def test_a_run_that_was_explained_goes_on_as_any_other(train_here: Command, explain: Any):
    plain, explained = (train_here(f"name={name}").directories[-1] for name in ("plain", "explained"))
    assert explain(str(explained), "0-2", "steps=5")[0] == 0
    for directory in (plain, explained):
        assert train_here(f"resume={directory}", "trainer.max_epochs=3", small=False).status == 0
    found, expected = curves(explained), curves(plain)
    for tag in ("train/loss", "val/acc", "test/acc", "lr"):
        assert [(p.step, p.value) for p in found[tag]] == [(p.step, p.value) for p in expected[tag]]
    assert images(explained) == {f"explain/integrated_gradients/{number}" for number in range(3)}
    starts, ends = (list(explained.glob(f"events.*.session-{which}")) for which in ("start", "end"))
    assert len(starts) == len(ends) == 1


def test_without_tensorboard_there_are_only_the_files(train_here: Command, explain: Any, tmp_path: Path):
    [directory] = train_here("logger=csv", "trainer.max_epochs=1").directories
    status, said, _ = explain(str(directory), "1", "steps=5", "-o", str(tmp_path / "a" / "b"))
    assert status == 0
    assert "TensorBoard" not in said
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["00001-integrated_gradients.png"]
    assert not list(directory.glob("events.*"))
    assert not (directory / "explanations").exists()


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["10000"], 2, "numbered from 0 to 9,999"),
        (["9990-10000"], 2, "numbered from 0 to 9,999"),
        (["0-999999999"], 2, "choose 200 at most"),
        (["0-300"], 2, "choose 200 at most"),
        (["-1"], 2, "chosen by number, such as 7"),
        (["seven"], 2, "seven: images of the test set are chosen by number"),
        (["9-5"], 2, "9-5: images of the test set are chosen by number"),
        (["1.5"], 2, "chosen by number"),
        (["1234567890123"], 2, "chosen by number"),
        (["1", "--mistakes", "3"], 2, "leave it or the numbers out"),
        (["--mistakes", "0"], 2, "--mistakes 0 must be a whole number from 1 to 200"),
        (["--mistakes", "many"], 2, "--mistakes many must be a whole number"),
        (["method=salience"], 2, "did you mean 'saliency'"),
        (["checkpoint=first"], 2, "checkpoint must be best or last"),
        (["steps=0"], 2, "steps=0 must be a whole number from 1 to 1,000"),
        (["steps="], 2, "must be a whole number"),
        (["steps=9", "method=saliency"], 2, "the gradient at one point"),
        (["speed=9"], 2, "no such setting"),
    ],
)
def test_bad_input_is_answered_in_a_sentence(run: Path, explain: Any, words: list[str], status: int, said: str):
    ended, output, error = explain(str(run), *words)
    assert (ended, output) == (status, "")
    assert said in error
    assert len(error.splitlines()) == 1


def test_a_folder_that_cannot_be_written_is_named(run: Path, explain: Any):
    status, _, said = explain(str(run), "1", "steps=5", "-o", __file__)
    assert status == 1
    assert f"{__file__} cannot be written" in said
    assert "by -o" in said


def test_samples_that_are_no_pictures_are_refused(train_here: Command, explain: Any):
    [directory] = train_here("data=points", "model.hidden=[2]", "trainer.max_epochs=2", small=False).directories
    status, _, said = explain(str(directory), "0")
    assert status == 1
    assert "its samples are not images" in said


def test_a_missing_captum_is_named_with_its_extra(run: Path, explain: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "captum", None)
    status, _, said = explain(str(run), "0")
    assert status == 1
    assert "captum" in said
    assert "make install-all, or pip install captum" in said


def test_help_loads_neither_torch_nor_captum():
    code = (
        "import sys\nfrom src.explain import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'lightning', 'captum', 'matplotlib')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True).returncode == 0
