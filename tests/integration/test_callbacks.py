"""What watches a training, and what it leaves."""

import base64
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto import graph_pb2
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.util import tensor_util
from torchmetrics.functional.classification import multiclass_confusion_matrix
from torchvision.utils import make_grid

from src.data.mnist import MNIST
from src.paths import ROOT
from src.records.record import Record
from src.training.checkpoints import load
from src.training.weights import load_model, trained
from tests.conftest import SMALL, Command
from tests.helpers.callbacks import read


def test_results_are_those_of_the_kept_weights(train_here: Command):
    [directory] = train_here("seed=3").directories
    found = json.loads((directory / "results.json").read_text())
    data = MNIST()
    data.setup("test")
    images, labels = data.test_set
    model = load_model(directory / "checkpoints/best.ckpt")
    with torch.no_grad():  # in the same batches, since sums over others may round differently
        chances = torch.cat([model(chunk.inputs) for chunk in data.test_dataloader()]).softmax(1)
    said = chances.argmax(1)
    assert torch.equal(torch.tensor(found["confusion"]), multiclass_confusion_matrix(said, labels, 10))
    assert sum(one["count"] for one in found["calibration"]["bins"]) == 10_000
    gaps = [abs(one["confidence"] - one["accuracy"]) * one["count"] for one in found["calibration"]["bins"]]
    assert sum(gaps) / 10_000 == pytest.approx(found["calibration"]["ece"], rel=1e-9)
    assert len(found["mistakes"]) == 25
    confidences = [mistake["confidence"] for mistake in found["mistakes"]]
    assert confidences == sorted(confidences, reverse=True)
    wrong = said != labels
    assert confidences[0] == pytest.approx(float(chances[wrong].max()), abs=1e-5)
    for mistake in found["mistakes"]:
        number = mistake["index"]
        assert (mistake["true"], mistake["predicted"]) == (str(int(labels[number])), str(int(said[number])))
        assert mistake["true"] != mistake["predicted"]
        picture = Image.open(io.BytesIO(base64.b64decode(mistake["image"])))
        assert list(picture.getdata()) == images[number].flatten().tolist()


def test_samples_that_are_no_pictures_have_results_too(fit_here, tmp_path: Path):
    done = fit_here("experiment=article_binary", "trainer.max_epochs=1", small=False)
    found = json.loads((done["directory"] / "results.json").read_text())
    assert sum(map(sum, found["confusion"])) == 4
    assert all(mistake["image"] is None for mistake in found["mistakes"])


# -- the tabs of TensorBoard


def pixels(seen: EventAccumulator, tag: str) -> Image.Image:
    return Image.open(io.BytesIO(seen.Images(tag)[-1].encoded_image_string))


def words(seen: EventAccumulator, tag: str) -> str:
    return seen.Tensors(f"{tag}/text_summary")[-1].tensor_proto.string_val[0].decode()


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that leaves something in every tab."""
    outputs = tmp_path_factory.mktemp("full") / "outputs"
    done = subprocess.run(
        [sys.executable, "-m", "src.train", *SMALL, "callbacks=full", "trainer.max_epochs=3", "seed=3"],
        cwd=ROOT,
        env={**os.environ, "OUTPUTS_DIR": str(outputs)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [directory] = (outputs / "runs").iterdir()
    return directory


def test_scalars_tell_of_the_training_and_of_the_machine(full: Path):
    seen = read(full)
    steps = {tag: [point.step for point in seen.Scalars(tag)] for tag in seen.Tags()["scalars"]}
    assert steps["samples"] == steps["samples_per_s"] == steps["gradient_norm"] == steps["lr"] == [8, 16, 24]
    assert [point.value for point in seen.Scalars("samples")] == [512, 1024, 1536]
    assert all(point.value > 0 for tag in ("samples_per_s", "gradient_norm") for point in seen.Scalars(tag))
    assert {tag for tag in steps if tag.startswith("system/")} == {
        "system/cpu_percent",
        "system/memory_mb",
        "system/memory_percent",
    }
    assert 100 < seen.Scalars("system/memory_mb")[-1].value < 24_000
    [layout] = seen.Tensors("custom_scalars__config__")
    charts = layout_pb2.Layout.FromString(layout.tensor_proto.string_val[0])
    shown = {tag for category in charts.category for chart in category.chart for tag in chart.multiline.tag}
    assert all(any(re.match(pattern, tag) for tag in steps) for pattern in shown - {"^system/.*_percent$"})


def test_the_first_layer_is_shown_as_it_is_saved(full: Path):
    seen = read(full)
    assert [image.step for image in seen.Images("first_layer")] == [0, 8, 16, 24]
    weights = torch.load(full / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    [first] = [tensor for name, tensor in weights.items() if tensor.shape == (16, 784)]
    grid = make_grid(first.reshape(-1, 1, 28, 28), nrow=8, normalize=True, scale_each=True)
    picture = torch.frombuffer(bytearray(pixels(seen, "first_layer").tobytes()), dtype=torch.uint8)
    assert (picture.reshape(62, 242, 3).permute(2, 0, 1) - (grid * 255)).abs().max() <= 1


@pytest.mark.parametrize("shift", [0, 3])
def test_inputs_are_shown_as_the_network_sees_them(fit_here, shift: int):
    done = fit_here("callbacks=[default,inputs]", f"data.augment.shift={shift}", "trainer.max_epochs=1")
    seen = read(done["directory"])
    data = MNIST(train_size=512, val_size=500)
    data.setup("fit")
    untouched = make_grid(next(iter(data.train_dataloader())).inputs[:32].unsqueeze(1), nrow=8)[0]
    picture = torch.frombuffer(bytearray(pixels(seen, "inputs").convert("L").tobytes()), dtype=torch.uint8)
    apart = (picture.reshape(untouched.shape).int() - untouched.int()).abs().max()
    assert (apart <= 1) == (shift == 0)


def test_weights_and_gradients_are_spread_over_the_histograms(full: Path):
    seen = read(full)
    tags = seen.Tags()["histograms"]
    assert {tag.partition("/")[0] for tag in tags} == {"weights", "gradients"}
    assert len(tags) == 8
    sizes = {784 * 16, 16, 160, 10}
    assert {seen.Histograms(tag)[-1].histogram_value.num for tag in tags} == sizes
    assert all([one.step for one in seen.Histograms(tag)] == [8, 16, 24] for tag in tags)


def test_precision_and_recall_are_those_of_the_results(full: Path):
    seen, found = read(full), json.loads((full / "results.json").read_text())
    counts = torch.tensor(found["confusion"])
    for number in range(10):
        [curve] = seen.Tensors(f"pr/{number}")
        _, _, _, _, precision, recall = tensor_util.make_ndarray(curve.tensor_proto)
        assert recall[0] == 1.0
        assert precision[0] == pytest.approx(counts[number].sum() / counts.sum())
        assert (recall[:-1] >= recall[1:]).all()


def test_the_graph_is_that_of_the_network(full: Path):
    graph = graph_pb2.GraphDef.FromString(read(full).Graph().SerializeToString())
    assert sum("Linear" in node.name and node.op == "aten::linear" for node in graph.node) == 2


def test_figures_are_drawn_once_after_the_test(full: Path):
    seen = read(full)
    for tag in ("mistakes", "confusion_matrix", "reliability"):
        [image] = seen.Images(tag)
        assert image.step == 24
        assert len(set(pixels(seen, tag).convert("L").getdata())) > 10


def test_the_projector_has_a_thousand_points_with_classes_and_pictures(full: Path):
    folder = full / "00024" / "penultimate"
    points = (folder / "tensors.tsv").read_text().splitlines()
    rows = [line.split("\t") for line in (folder / "metadata.tsv").read_text().splitlines()]
    assert len(points) == 1000
    assert {len(point.split("\t")) for point in points} == {16}
    assert rows[0] == ["class", "predicted", "right"]
    data = MNIST()
    data.setup("test")
    assert [int(row[0]) for row in rows[1:]] == data.test_set[1][:1000].tolist()
    assert all((row[2] == "yes") == (row[0] == row[1]) for row in rows[1:])
    side = 28 * 32  # pixels of a square that holds a thousand pictures
    sprite = Image.open(folder / "sprite.png").convert("L")
    assert sprite.size == (side, side)
    shown = torch.tensor(list(sprite.crop((28, 0, 56, 28)).getdata()))
    assert (255 - shown - data.test_set[0][1].flatten().int()).abs().max() <= 1


def test_texts_hold_configuration_environment_and_result(full: Path):
    seen, run = read(full), json.loads((full / "run.json").read_text())
    assert json.loads(words(seen, "config").strip("`").removeprefix("json")) == run["config"]
    assert f"`{run['environment']['platform']}`" in words(seen, "environment")
    assert f"`{run['environment']['packages']['torch']}`" in words(seen, "environment")
    assert "| status | `done` |" in words(seen, "result")
    assert f"| test/acc | `{run['metrics']['test/acc']:.4f}` |" in words(seen, "result")


def test_samples_that_are_no_pictures_leave_out_what_needs_some(fit_here):
    done = fit_here("experiment=article_binary", "trainer.max_epochs=2", "callbacks=full", small=False)
    seen = read(done["directory"])
    assert set(seen.Tags()["images"]) == {"confusion_matrix", "reliability"}
    [folder] = done["directory"].glob("*/penultimate")
    assert len((folder / "tensors.tsv").read_text().splitlines()) == 4
    assert not (folder / "sprite.png").exists()


class Weights(pl.Callback):
    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.values = {name: tensor.clone() for name, tensor in pl_module.state_dict().items()}


def test_to_watch_changes_nothing(fit_here):
    def weights(*words: str) -> dict[str, torch.Tensor]:
        kept = Weights()
        fit_here(*words, "model.dropout=0.3", "data.augment.shift=2", extra=[kept])
        return kept.values

    bare = weights("callbacks=none")
    for words in (["callbacks=default"], ["callbacks=full"]):
        watched = weights(*words)
        assert all(torch.equal(bare[name], watched[name]) for name in bare), words


def test_a_resumed_run_shows_nothing_twice(fit_here, tmp_path: Path):
    directory = tmp_path / "cut"

    class Stop(pl.Callback):
        def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            if trainer.current_epoch == 1:
                raise RuntimeError

    with pytest.raises(RuntimeError):
        fit_here("callbacks=full", extra=[Stop()], into=directory)
    fit_here("callbacks=full", into=directory)
    seen = read(directory)
    assert [image.step for image in seen.Images("first_layer")] == [0, 8, 16]
    assert len(seen.Images("inputs")) == len(seen.Images("mistakes")) == 1
    fit_here("callbacks=full", into=directory)  # the test alone, once more
    seen = read(directory)
    assert len(seen.Images("mistakes")) == len(seen.Tensors("pr/1")) == 1
    assert (directory / "projector_config.pbtxt").read_text().count("embeddings {") == 1


# -- what is said while a run trains


def test_a_training_that_gets_nowhere_and_a_full_disk_are_said(train_here: Command):
    done = train_here(
        "optimizer=sgd",
        "optimizer.lr=1e-12",
        "trainer.max_epochs=6",
        "callbacks.watch.patience_epochs=2",
        "callbacks.watch.min_free_mb=1e12",
    )
    [run] = done.runs
    said = [warning["text"] for warning in run["warnings"]]
    assert len(said) == 2  # each once
    assert "MB of disk left, less than 1e+12" in said[0]
    assert said[1].startswith("val/acc has not improved for 2 epochs (best: 0.")
    assert all(f"warning: {text}" in done.stdout for text in said)
    assert "warnings" not in train_here("seed=4").runs[-1]


def test_of_several_checkpoints_the_best_is_recorded_tested_and_rebuilt(train_here: Command):
    done = train_here("+callbacks.best.save_top_k=2", "trainer.max_epochs=4", "optimizer.lr=0.02")
    assert done.status == 0, done.stderr
    [directory], [run] = done.directories, done.runs
    names = {path.name for path in (directory / "checkpoints").iterdir()}
    assert names == {"best.ckpt", "best-v1.ckpt", "last.ckpt", "previous.ckpt"}
    best = load(directory / run["best"]["checkpoint"])
    assert best["epoch"] == run["best"]["epoch"]
    [scores] = [state["best_k_models"] for name, state in best["callbacks"].items() if "'monitor': 'val/acc'" in name]
    assert max(scores.values()).item() == run["best"]["value"]
    model, _ = trained(Record.load(directory))
    assert all(torch.equal(value, best["state_dict"][name]) for name, value in model.classifier.state_dict().items())
    last = load(directory / "checkpoints" / "last.ckpt")
    assert last["epoch"] == 3
