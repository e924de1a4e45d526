"""python -m src.export: files that answer as the checkpoint does, and run without this project."""

import json
import re
import resource
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from src.analysis.export.int8 import SETTINGS
from src.analysis.export.product import in_int8
from src.analysis.export.programs import Predictor
from src.data.mnist import MNIST
from src.export import main
from src.models.mlp import MLP
from src.paths import ROOT
from src.records.record import Record
from src.records.summary import summary
from src.runs.__main__ import main as runs
from src.tasks.losses import probabilities
from src.training.weights import load_model
from tests.helpers.export import _exports, _run, digits, mnist

__all__ = ["digits", "mnist"]


POINTS = [
    "experiment=article_binary",
    "trainer.max_epochs=5",
    "callbacks.best.every_n_epochs=1",
    "callbacks.last.every_n_epochs=1",
]


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """A run on the article's four points: floats, a single output, nothing held out."""
    return _run(tmp_path_factory.mktemp("runs") / "points", *POINTS)


@pytest.fixture(scope="module")
def exported(digits: Record) -> Path:
    """The run on MNIST as it is exported when nothing else is said."""
    assert main([str(digits.directory), "--format", "onnx"]) == 0
    return digits.directory / "model.onnx"


def _answers(path: Path, samples: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"images": samples})[0]


def test_onnx_answers_as_the_checkpoint_does_and_is_noted_in_the_record(
    digits: Record, mnist: MNIST, capfd: pytest.CaptureFixture[str]
):
    before, files = Record.load(digits.directory).values, set(digits.directory.iterdir())
    capfd.readouterr()
    assert main([str(digits.directory), "--format", "onnx"]) == 0
    said = capfd.readouterr()
    path = digits.directory / "model.onnx"
    assert set(digits.directory.iterdir()) - files == {path}, "one file, none beside it"
    assert said.err == ""
    assert said.out.splitlines()[0] == f"{path}: {path.stat().st_size:,} bytes"
    assert "all 10,000 test samples in batches of 1, 7 and 2,000: the checkpoint's classes" in said.out.splitlines()[1]
    assert len(said.out.splitlines()) == 2

    model = load_model(digits.directory / "checkpoints" / "best.ckpt")
    images, labels = mnist.test_set
    with torch.inference_mode():
        expected = probabilities(model(images)).numpy()
    found = _answers(path, images.numpy())
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(_answers(path, images[:1].numpy()), found[:1], atol=1e-5)

    after = Record.load(digits.directory).values
    [entry] = after.pop("exports")
    assert after == before
    assert (entry["format"], entry["file"], entry["checkpoint"]) == ("onnx", "model.onnx", "best")
    checks = entry["checks"]
    assert (checks["samples"], checks["differ"], checks["batch_sizes"]) == (10_000, 0, [1, 7, 2000])
    assert 0 < checks["largest"] < 1e-5
    assert checks["accuracy"] == pytest.approx(before["metrics"]["test/acc"], abs=1e-6)
    assert checks["accuracy"] == pytest.approx(float((expected.argmax(1) == labels.numpy()).mean()))


def test_a_run_with_exports_is_shown_like_any_other(digits: Record, exported: Path, capfd: pytest.CaptureFixture[str]):
    capfd.readouterr()
    assert runs(["show", str(digits.directory)]) == 0
    assert exported.name in capfd.readouterr().out
    assert runs(["show", str(digits.directory), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["exports"][0]["format"] == "onnx"
    assert runs(["show", str(digits.directory), "--csv"]) == 0


def _is_described(record: Record, facts: dict[str, Any]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert facts | {"input": None, "classes": None} == {
        "run": record.values["id"],
        "checkpoint": "best",
        "commit": "",
        "metrics": summary(record).metrics,
        "classes": None,
        "input": None,
        "project": f"{project['name']} {project['version']}",
        "torch": torch.__version__,
    }


def _names_no_path(path: Path) -> None:
    assert str(ROOT).encode() not in path.read_bytes()
    assert sys.prefix.encode() not in path.read_bytes()


def test_the_onnx_file_says_what_it_is_and_nothing_of_this_machine(digits: Record, exported: Path):
    texts = {one.key: one.value for one in onnx.load(exported).metadata_props}
    facts = {key: json.loads(text) if text[:1] in ("[", "{") else text for key, text in texts.items()}
    _is_described(digits, facts)
    assert facts["classes"] == [str(number) for number in range(10)]
    assert (facts["input"]["dtype"], facts["input"]["shape"]) == ("uint8", ["n", 28, 28])
    _names_no_path(exported)


def test_the_pt2_file_says_what_it_is_and_nothing_of_this_machine(points: Record, tmp_path: Path):
    path, extra = tmp_path / "model.pt2", {"metadata.json": ""}
    assert main([str(points.directory), "--format", "pt2", "-o", str(path)]) == 0
    torch.export.load(path, extra_files=extra)
    facts = json.loads(extra["metadata.json"])
    _is_described(points, facts)
    assert facts["classes"] == ["0", "1"]
    assert (facts["input"]["dtype"], facts["input"]["shape"]) == ("float32", ["n", 2])
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            assert str(ROOT).encode() not in archive.read(name)
    _names_no_path(path)


def test_of_an_averaged_run_it_is_the_average_that_is_exported(digits: Record, exported: Path):
    checkpoint = torch.load(digits.directory / "checkpoints" / "best.ckpt", weights_only=True)
    [found] = [
        onnx.numpy_helper.to_array(weights)
        for weights in onnx.load(exported).graph.initializer
        if weights.name.endswith("layers.4.weight")
    ]
    trained = checkpoint["current_model_state"]["net.layers.4.weight"].numpy()
    np.testing.assert_array_equal(found, checkpoint["state_dict"]["net.layers.4.weight"].numpy())
    assert not np.allclose(found, trained)


def test_what_is_exported_has_stopped_training(exported: Path, mnist: MNIST):
    assert "Dropout" not in {node.op_type for node in onnx.load(exported).graph.node}
    images = mnist.test_set[0][:100].numpy()
    one_by_one = np.concatenate([_answers(exported, image[None]) for image in images[:5]])
    np.testing.assert_allclose(_answers(exported, images)[:5], one_by_one, atol=1e-6)


@pytest.mark.parametrize("words", [["onnx"], ["pt2"], ["onnx", "--int8"]])
def test_points_are_floats_and_have_two_classes(points: Record, words: list[str]):
    assert main([str(points.directory), "--format", *words]) == 0
    entry = _exports(points)[-1]
    assert entry["checks"]["samples"] == 4
    assert entry["checks"]["batch_sizes"] == [1, 7, 2000], "four points are repeated to fill a batch"
    path = points.directory / entry["file"]
    if path.suffix == ".onnx":
        found = _answers(path, np.array([[1, 0], [0, 1], [1, 1]], dtype=np.float32))
        assert found.shape == (3, 2)
        np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    if "--int8" in words:
        assert entry["checks"]["calibration"] == "4 training samples"


def test_int8_is_smaller_and_says_what_it_costs(
    digits: Record, exported: Path, mnist: MNIST, capfd: pytest.CaptureFixture[str]
):
    capfd.readouterr()
    assert main([str(digits.directory), "--format", "onnx", "--int8"]) == 0
    said = capfd.readouterr()
    assert said.err == ""
    path = digits.directory / "model.int8.onnx"
    assert path.stat().st_size < 0.5 * exported.stat().st_size
    entry = _exports(digits)[-1]
    checks = entry["checks"]
    images, labels = mnist.test_set
    found = _answers(path, images.numpy())
    assert checks["accuracy"] == pytest.approx(float((found.argmax(1) == labels.numpy()).mean()))
    assert abs(checks["accuracy"] - checks["float"]["accuracy"]) < 0.02
    with_differ = f"{checks['differ']:,}" if checks["differ"] else "the checkpoint's classes"
    assert with_differ in said.out
    assert checks["calibration"] == "500 held-out samples"
    assert "calibrated on 500 held-out samples" in said.out
    assert f"{checks['float']['accuracy']:.4f}" in said.out
    assert f"{path.stat().st_size:,}" in said.out
    assert len(checks["trials"]) == len(SETTINGS) >= 4
    for batch in ("1", "256"):
        for times in checks["milliseconds"][batch].values():
            assert 0 < times["low"] <= times["median"] <= times["high"]
    kinds = {weights.data_type for weights in onnx.load(path).graph.initializer if np.prod(weights.dims) > 100}
    assert kinds == {onnx.TensorProto.INT8}


def test_int8_takes_the_setting_that_is_best_on_the_held_out_samples_and_never_sees_the_test(digits: Record):
    predictor = Predictor(load_model(digits.directory / "checkpoints" / "best.ckpt"))
    data = MNIST(val_size=500)
    data.setup("test")
    images, labels = data.test_set
    made = []
    for shown in (images[:50], 255 - images[50:90]):
        data.test_set = (shown, labels[: len(shown)])
        made.append(in_int8(predictor, data, {}))
    assert made[0].content == made[1].content
    trials = made[0].checks["trials"]
    assert trials == made[1].checks["trials"]
    best = max(trials, key=lambda trial: (trial["accuracy"], -trial["distance"]))
    said = onnx.load_from_string(made[0].content).metadata_props
    [how] = [one.value for one in said if one.key == "quantisation"]
    assert how.startswith(
        f"weights QInt8 {best['weights']}, activations {best['activations']}, ranges {best['ranges']}"
    )


@pytest.mark.parametrize("form", ["onnx", "pt2"])
def test_a_program_that_answers_otherwise_is_not_written(
    points: Record, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """A network that behaves in an exporter as it does nowhere else."""

    def forward(self: MLP, x: torch.Tensor) -> torch.Tensor:
        logits = self.layers(x.flatten(1))
        return -logits if torch.compiler.is_exporting() else logits

    monkeypatch.setattr(MLP, "forward", forward)
    noted = len(_exports(points))
    assert main([str(points.directory), "--format", form, "-o", str(tmp_path / "model")]) == 1
    assert "for 4 of 4 test samples the exported program names another class" in capfd.readouterr().err
    assert not list(tmp_path.iterdir())
    assert len(_exports(points)) == noted


@pytest.mark.parametrize(("form", "cause"), [("onnx", "No ONNX function found"), ("pt2", ".numpy() is not")])
def test_a_network_that_cannot_be_exported_is_an_error_in_one_sentence(
    points: Record,
    tmp_path: Path,
    form: str,
    cause: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    """ONNX has no Bessel functions, and torch.export does not follow into numpy."""

    def forward(self: MLP, x: torch.Tensor) -> torch.Tensor:
        return self.layers(torch.from_numpy(torch.special.bessel_j0(x.flatten(1)).numpy()))

    monkeypatch.setattr(MLP, "forward", forward)
    assert main([str(points.directory), "--format", form, "-o", str(tmp_path / "model")]) == 1
    said = capfd.readouterr()
    assert f"the network cannot be exported to {form}" in said.err
    assert cause in said.err
    assert "Traceback" not in said.out + said.err
    assert len(said.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["no-such-run", "--format", "onnx"], 1, "no run of that id"),
        (["{run}", "--format", "pt2", "--int8"], 2, "--int8 goes with --format onnx, not pt2"),
        (["{run}", "--format", "onnx", "checkpoint=lst"], 2, "did you mean 'last'"),
        (["{run}", "--format", "onnx", "-o", "{tmp}/none/model.onnx"], 1, "none/model.onnx cannot be written"),
        (["{run}", "--format", "onnx", "-o", "{tmp}"], 1, "-o takes a file"),
        (["{run}", "--format", "pt2", "-o", "/proc/self/model.pt2"], 1, "nothing was exported"),
    ],
)
def test_what_is_wrong_is_said(
    points: Record, tmp_path: Path, words: list[str], status: int, said: str, capfd: pytest.CaptureFixture[str]
):
    noted = _exports(points)
    assert main([word.format(run=points.directory, tmp=tmp_path) for word in words]) == status
    error = capfd.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert not list(tmp_path.iterdir())
    assert _exports(points) == noted


@pytest.mark.parametrize("words", [["--format", "tflite"], []])
def test_a_format_there_is_not(points: Record, words: list[str], capfd: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main([str(points.directory), *words])
    assert ended.value.code == 2
    assert "--format" in capfd.readouterr().err


def test_a_full_disk_leaves_no_file_and_no_entry(digits: Record, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    (tmp_path / "model.onnx").write_text("the one before")
    noted = _exports(digits)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        status = main([str(digits.directory), "--format", "onnx", "-o", str(tmp_path / "model.onnx")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert status == 1
    assert "cannot be written (File too large)" in capfd.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert (tmp_path / "model.onnx").read_text() == "the one before"
    assert _exports(digits) == noted


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_named_with_its_extra_and_pt2_does_without(
    points: Record, tmp_path: Path, package: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.setitem(sys.modules, package, None)
    assert main([str(points.directory), "--format", "onnx", "-o", str(tmp_path / "model.onnx")]) == 1
    said = capfd.readouterr().err
    assert said == (
        f"error: --format onnx needs {package}, which is not installed: "
        "make install-all, or pip install onnx onnxscript onnxruntime.\n"
    )
    assert main([str(points.directory), "--format", "pt2", "-o", str(tmp_path / "model.pt2")]) == 0


def test_help_loads_nothing_heavy():
    code = (
        "import sys, src.export\n"
        "try:\n    src.export.main(['--help'])\n"
        "except SystemExit:\n    pass\n"
        "print([name for name in ('torch', 'lightning', 'onnx', 'onnxruntime', 'numpy') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_the_example_of_the_docs_runs_without_torch_and_without_this_project(
    digits: Record, exported: Path, tmp_path: Path
):
    [example] = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "export.md").read_text(), re.DOTALL)
    (tmp_path / "example.py").write_text(example)
    (tmp_path / "data").symlink_to(ROOT / "data")
    (tmp_path / "model.onnx").symlink_to(exported)
    alone = (
        "import runpy, sys\n"
        "class Wall:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('torch', 'src', 'lightning', 'onnx'):\n"
        "            raise SystemExit(f'{name} was imported')\n"
        "sys.meta_path.insert(0, Wall())\n"
        "runpy.run_path('example.py', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", alone], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{digits.values['id']}: accuracy {digits.values['metrics']['test/acc']:.4f}" in done.stdout
    assert "the first image is a 7" in done.stdout
