"""Explanations: which pixels they name, where the pictures go, and what they leave alone."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src.analysis.attribution import attribute, chosen
from src.callbacks.after_test import Outcome
from src.data.normalize import Normalize
from src.errors import UserError
from src.explain import main
from src.models.mlp import MLP
from src.paths import ROOT
from src.records.record import Record
from src.tasks.classification import Classifier
from src.tasks.pipeline import Pipeline
from src.views.scalars import curves
from tests.conftest import SMALL, Command, MakeRun


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a second, as the command leaves it."""
    outputs = tmp_path_factory.mktemp("outputs")
    call = [sys.executable, "-m", "src.train", *SMALL]
    subprocess.run(call, cwd=ROOT, env={**os.environ, "OUTPUTS_DIR": str(outputs)}, check=True, capture_output=True)
    return next(outputs.glob("runs/*"))


@pytest.fixture
def explain(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*words: str) -> tuple[int, str, str]:
        status = main(list(words))
        return status, *capfd.readouterr()

    return call


def images(directory: Path) -> set[str]:
    events = EventAccumulator(str(directory), size_guidance={"images": 0})
    events.Reload()
    return {tag for tag in events.Tags()["images"] if tag.startswith("explain/")}


def model(activation: str = "relu", outputs: int = 10) -> Pipeline:
    torch.manual_seed(0)
    shape = {"input_shape": [28, 28], "outputs": outputs, "hidden": [32, 16], "activation": activation}
    loss = "binary_cross_entropy" if outputs == 1 else "cross_entropy"
    return Pipeline(Normalize(127.5, 127.5), Classifier(net=MLP(**shape), classes=max(2, outputs), loss=loss)).eval()


def pictures(count: int) -> torch.Tensor:
    return torch.randint(256, (count, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("outputs", [10, 1])
def test_integrated_gradients_add_up_to_the_difference_to_a_black_image(outputs: int):
    net, raw, classes = model(outputs=outputs), pictures(60), torch.arange(60) % max(2, outputs)

    def score(inputs: torch.Tensor) -> torch.Tensor:
        logits = net(inputs)
        both = torch.cat([-logits / 2, logits / 2], 1) if outputs == 1 else logits
        return both.gather(1, classes.unsqueeze(1)).squeeze(1)

    difference = (score(raw) - score(torch.zeros_like(raw))).detach()
    gaps = [
        (attribute(net, raw, classes, "integrated_gradients", steps).sum((1, 2)) - difference).abs().max()
        for steps in (5, 500)
    ]
    assert gaps[1] < gaps[0] / 10
    assert gaps[1] < 0.01 * difference.abs().max()


def test_of_a_smooth_network_they_add_up_to_rounding():
    net, raw, classes = model("silu"), pictures(3), torch.tensor([1, 5, 9])
    difference = (net(raw) - net(torch.zeros_like(raw)))[torch.arange(3), classes].detach()
    found = attribute(net, raw, classes, "integrated_gradients", 50)
    assert torch.allclose(found.sum((1, 2)), difference, atol=1e-5)


def test_saliency_is_the_gradient_for_raw_grey_values_with_its_sign():
    net, raw = model(), pictures(3)
    inputs = raw.float().requires_grad_()
    net(inputs)[:, 7].sum().backward()
    found = attribute(net, raw, torch.tensor([7, 7, 7]), "saliency")
    assert torch.equal(found, inputs.grad)
    assert (found < 0).any()


@pytest.mark.parametrize("method", ["integrated_gradients", "saliency"])
def test_an_image_is_explained_alike_alone_and_among_others(method: str):
    net, raw, classes = model(), pictures(120), torch.arange(120) % 10
    together = attribute(net, raw, classes, method)
    for number in (0, 49, 50, 119):
        alone = attribute(net, raw[[number]], classes[[number]], method)
        assert torch.allclose(alone[0], together[number], atol=1e-5)


def test_the_worst_mistakes_are_explained_unless_numbers_are_given(run: Path, explain: Any):
    mistakes = json.loads((run / "results.json").read_text())["mistakes"]
    status, said, _ = explain(str(run), "steps=20", "--mistakes", "4")
    assert status == 0
    for one in mistakes[:4]:
        title = f"true {one['true']} taken for {one['predicted']}, {one['confidence']:.1%} sure"
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
    assert "3 pictures" in said
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
    assert "no grey pictures" in said


def test_a_run_at_work_is_left_alone(make_run: MakeRun, explain: Any):
    record: Record = make_run(status="running")
    status, _, said = explain(str(record.directory))
    assert status == 1
    assert "still running" in said


def test_a_model_without_mistakes_has_none_to_explain():
    labels = torch.arange(10)
    perfect = Outcome(torch.eye(10), labels, pictures(10), [str(number) for number in range(10)])
    with pytest.raises(UserError, match="makes no mistake"):
        chosen(perfect, 5, "r1")


def test_a_missing_captum_is_named_with_its_extra(run: Path, explain: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "captum", None)
    status, _, said = explain(str(run), "0")
    assert status == 1
    assert "captum" in said
    assert "'explain'" in said


def test_help_loads_neither_torch_nor_captum():
    code = (
        "import sys\nfrom src.explain import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'lightning', 'captum', 'matplotlib')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True).returncode == 0
