"""Event files and HParams sessions."""

import time
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator as PluginAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util.tensor_util import make_ndarray

from src.loggers.hparams import hparams
from src.loggers.tensorboard import TensorBoard, close_session
from tests.conftest import MakeRun
from tests.helpers.tracking import events


def test_what_a_killed_attempt_wrote_after_its_checkpoint_is_forgotten(tmp_path: Path):
    for resumed_at, steps in ((None, (8, 16, 24)), (16, (24, 32)), (24, (32, 40))):
        logger = TensorBoard(directory=str(tmp_path), resumed_at=resumed_at)
        for step in steps:
            logger.experiment.add_scalar("val/loss", float(resumed_at or 0), step)
        logger.close("done")
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
        logger.close("done")
    assert names == sorted(names)


@pytest.mark.parametrize(("status", "code"), [("done", 1), ("failed", 2), ("interrupted", 2)])
def test_the_end_of_a_session_is_true_and_can_be_replaced(make_run: MakeRun, status: str, code: int):
    record = make_run("seed=1", status="failed", error="a | b `c`", events=True)
    record.update(status=status)
    close_session(record)
    seen = events(record.directory)
    plugin = seen.SummaryMetadata("_hparams_/session_end_info").plugin_data.content
    assert plugin_data_pb2.HParamsPluginData.FromString(plugin).session_end_info.status == code
    assert [point.value for point in seen.Scalars("best/val/acc")] == [pytest.approx(0.9)]
    result = seen.Tensors("result/text_summary")[0].tensor_proto.string_val[0].decode()
    assert f"| status | `{status}` |" in result
    assert "| error | `a \u2223 b 'c'` |" in result
    assert len(list(record.directory.glob("events.*"))) == 1


def test_hyperparameters_keep_their_kinds_and_name_choices(make_run: MakeRun):
    flat = hparams(make_run("optimizer=sgd", "model.hidden=[8]", "seed=3", "name=me"))
    shown = ("optimizer", "optimizer.lr", "optimizer.nesterov", "model.hidden", "seed")
    assert {name: flat[name] for name in shown} == {
        "optimizer": "sgd", "optimizer.lr": 0.1, "optimizer.nesterov": False, "model.hidden": "[8]", "seed": 3.0
    }  # fmt: skip
    assert not {"name", "monitor", "data.dir", "freeze._target_", "init_from"} & set(flat)
