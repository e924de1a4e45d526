"""Records, directories and TensorBoard: what a run leaves behind can be found and believed."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator as PluginAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util.tensor_util import make_ndarray

from src.files import write
from src.tracking.checkpoints import DurableCheckpointIO
from src.tracking.hparams import hparams
from src.tracking.record import Record, claim
from src.tracking.tensorboard import TensorBoard, close_session
from tests.conftest import MakeRun

Fit = Callable[..., dict[str, Any]]


def events(directory: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(directory), size_guidance={"scalars": 0})
    accumulator.Reload()
    return accumulator


def test_starts_in_the_same_second_get_directories_of_their_own(tmp_path: Path):
    with ThreadPoolExecutor(20) as pool:
        claimed = list(pool.map(lambda _: claim(tmp_path / "runs", "r"), range(100)))
    assert len(set(claimed)) == 100
    assert all(path.is_dir() for path in claimed)


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "run.json"
    write(path, "before")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(path, "after")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from src.errors import UserError

    path, io = tmp_path / "last.ckpt", DurableCheckpointIO()
    io.save_checkpoint({"epoch": 1}, path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match=r"last.ckpt cannot be written \(No space left on device\)"):
        io.save_checkpoint({"epoch": 2}, path)
    assert io.load_checkpoint(path) == {"epoch": 1}
    assert not list(tmp_path.glob(".*.part"))


def test_curves_lie_on_the_optimizer_step(fit_here: Fit):
    result = fit_here("data.train_size=1000", "data.batch_size=10", "trainer.max_epochs=3")  # 100 steps an epoch
    seen = events(result["directory"])
    steps = {tag: [point.step for point in seen.Scalars(tag)] for tag in seen.Tags()["scalars"]}
    for tag in ("train/loss", "train/acc", "val/loss", "val/acc"):
        assert steps[tag] == [100, 200, 300]
    for tag in ("test/loss", "test/acc"):
        assert steps[tag] == [300]
    for tag in ("train/loss_step", "train/acc_step", "lr", "samples"):
        assert len(steps[tag]) >= 6
        assert steps[tag] == sorted(set(steps[tag]))
    assert "epoch" not in steps
    for point in seen.Scalars("samples"):
        assert point.value == 10 * point.step
    assert {tag: seen.Scalars(tag)[-1].value for tag in result["metrics"]} == pytest.approx(result["metrics"])


def test_what_a_killed_attempt_wrote_after_its_checkpoint_is_forgotten(tmp_path: Path):
    for resumed_at, steps in ((None, (8, 16, 24)), (16, (24, 32)), (24, (32, 40))):
        logger = TensorBoard(directory=str(tmp_path), resumed_at=resumed_at)
        for step in steps:
            logger.experiment.add_scalar("val/loss", float(resumed_at or 0), step)
        logger.close()
    curve = [(8, 0.0), (16, 0.0), (24, 16.0), (32, 24.0), (40, 24.0)]
    python = events(tmp_path).Scalars("val/loss")
    assert [(point.step, point.value) for point in python] == curve
    # The loader of the dashboard, with a reader of its own: it takes the first start of a run for no restart.
    shown = PluginAccumulator(str(tmp_path), event_file_active_filter=lambda _: True)
    shown.Reload()
    assert [(point.step, make_ndarray(point.tensor_proto).item()) for point in shown.Tensors("val/loss")] == curve


def test_event_files_are_named_in_the_order_in_which_they_are_begun(tmp_path: Path):
    EventFileWriter(str(tmp_path)).close()
    [path] = tmp_path.iterdir()
    names = [f"events.out.tfevents.{int(time.time()):010d}.zz.1.9"]  # as tensorboard names one on another host
    path.rename(tmp_path / names[0])
    for resumed_at in (None, 8):
        logger = TensorBoard(directory=str(tmp_path), resumed_at=resumed_at)
        for test in (False, True):
            if test:
                logger.begin_test()
            logger.log_metrics({"test/acc" if test else "val/acc": 0.5}, 8)
            [name] = {path.name for path in tmp_path.iterdir()} - set(names)
            names.append(name)
        logger.close()
    assert names == sorted(names)


def test_the_configuration_is_in_tensorboard_as_text_and_as_hyperparameters(fit_here: Fit):
    result = fit_here("optimizer.lr=0.5", "optimizer=sgd")
    seen = events(result["directory"])
    assert "config/text_summary" in seen.Tags()["tensors"]
    [text] = seen.Tensors("config/text_summary")
    shown = text.tensor_proto.string_val[0].decode()
    assert yaml.safe_load(shown.strip("`").removeprefix("json"))["optimizer"]["lr"] == 0.5
    plugin = seen.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    start = plugin_data_pb2.HParamsPluginData.FromString(plugin).session_start_info
    assert start.hparams["optimizer.lr"].number_value == 0.5
    assert start.hparams["optimizer"].string_value == "torch.optim.SGD"
    assert "model.gradient_clip_norm" not in start.hparams
    assert "hp_metric" not in seen.Tags()["scalars"]
    assert not list(result["directory"].glob("hparams.yaml"))


@pytest.mark.parametrize(("status", "code"), [("done", 1), ("failed", 2), ("interrupted", 2)])
def test_the_end_of_a_session_is_true_and_can_be_replaced(make_run: MakeRun, status: str, code: int):
    record = make_run("seed=1", status="failed", error="a | b `c`", events=True)
    record.update(status=status)
    close_session(record)
    seen = events(record.directory)
    plugin = seen.SummaryMetadata("_hparams_/session_end_info").plugin_data.content
    assert plugin_data_pb2.HParamsPluginData.FromString(plugin).session_end_info.status == code
    result = seen.Tensors("result/text_summary")[0].tensor_proto.string_val[0].decode()
    assert f"| status | `{status}` |" in result
    assert "| error | `a \u2223 b 'c'` |" in result
    assert len(list(record.directory.glob("events.*"))) == 1


def test_hyperparameters_keep_their_kinds():
    flat = hparams({"a": {"_target_": "x.Y", "n": 3, "f": 0.5, "b": True, "none": None, "list": [1, 2]}, "name": "me"})
    assert flat == {"a": "x.Y", "a.n": 3.0, "a.f": 0.5, "a.b": True, "a.list": "[1, 2]"}


def test_a_record_follows_the_training(fit_here: Fit):
    import lightning.pytorch as pl

    seen: list[dict[str, Any]] = []

    class Reader(pl.Callback):
        def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            seen.append(json.loads((Path(trainer.default_root_dir) / "run.json").read_text()))

    result = fit_here("trainer.max_epochs=3", extra=[Reader()])
    assert seen[0]["metrics"] == {}
    assert [bool(record["best"]["checkpoint"]) for record in seen] == [False, True, True]
    assert "val/acc" in seen[2]["metrics"]
    assert Record.load(result["directory"]).values["metrics"] == result["metrics"]
