"""Records, directories and TensorBoard: what a run leaves behind can be found and believed."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator as PluginAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util.tensor_util import make_ndarray

from src.config.command_line import CommandLine
from src.files import write
from src.loggers.hparams import hparams
from src.loggers.tensorboard import TensorBoard, close_session
from src.paths import ROOT
from src.records.lock import owned
from src.records.record import Record, claim
from src.records.sweep import Sweep
from src.training.checkpoints import DurableCheckpointIO
from tests.conftest import Command, MakeRun
from tests.limits import files_of_at_most

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


def test_ids_tell_the_time_everywhere_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    claimed = []
    for zone in ("Asia/Tokyo", "UTC", "America/New_York"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        claimed.append(claim(tmp_path, "r").name)
    monkeypatch.undo()
    time.tzset()
    times = [datetime.strptime(name[1:16], "%Y%m%d-%H%M%S").replace(tzinfo=UTC) for name in claimed]
    assert max(times) - min(times) < timedelta(minutes=1)
    assert abs(times[0] - datetime.now(UTC)) < timedelta(minutes=1)


# Work on a run, in a process of its own, as src.training.run does; with "leave" the process dies and one it has forked lives on.
WORK = """
import os, signal, sys, time
from pathlib import Path
from src.records.lock import owned, owner
from src.records.record import Record
directory = Path(sys.argv[1])
with owned(directory):
    record = Record.load(directory)
    record.update(status="running", environment={**record.values["environment"], **owner()})
    if sys.argv[2:] == ["leave"] and os.fork():
        os.kill(os.getpid(), signal.SIGKILL)
    print("ready", flush=True)
    time.sleep(2 if sys.argv[2:] else 100)
"""


def work(directory: Path, *words: str, inside: Sequence[str] = ()) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(
        [*inside, sys.executable, "-c", WORK, str(directory), *words], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


@pytest.mark.parametrize("name", [None, "container"])
def test_a_run_in_a_container_is_known_by_its_lock(make_run: MakeRun, command: Command, name: str | None):
    inside = ["unshare", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc"]
    if os.getuid() or subprocess.run([*inside, "true"], capture_output=True).returncode:
        pytest.skip("namespaces may not be made here")
    inside += [] if name is None else ["sh", "-c", f'hostname {name} && exec "$@"', "sh"]
    record = make_run("seed=1", status="failed", accuracy=None)
    process = work(record.directory, inside=inside)
    try:
        found = Record.load(record.directory)
        assert found.values["environment"]["host"] == (name or socket.gethostname())
        assert found.values["environment"]["pid"] < 10
        assert (found.status, found.is_busy) == ("running", True)
        listed = json.loads(command("runs", "ls", "running", "--json").stdout)
        assert [run["id"] for run in listed] == [record.values["id"]]
        refused = command("train", f"resume={record.values['id']}")
        assert (refused.status, "is still running, as process" in refused.stderr) == (1, True)
    finally:
        process.kill()
        process.wait()
    with owned(record.directory):  # waits until the whole container is gone
        pass
    found = Record.load(record.directory)
    assert (found.values["status"], found.status, found.is_busy) == ("running", "interrupted", False)


def test_what_a_killed_command_leaves_behind_is_waited_for(make_run: MakeRun):
    record = make_run("seed=1", status="failed")
    process = work(record.directory, "leave")
    assert process.wait() == -signal.SIGKILL
    found = Record.load(record.directory)
    assert (found.status, found.is_busy) == ("running", False)
    with owned(record.directory):
        assert Record.load(record.directory).values["status"] == "running"
    assert found.status == "interrupted"


def test_asking_whether_a_run_is_at_work_keeps_no_command_from_starting(make_run: MakeRun):
    record, ended = make_run("seed=1", status="running", killed=True), threading.Event()

    def ask() -> None:
        while not ended.is_set():
            assert record.status in ("running", "interrupted")

    askers = [threading.Thread(target=ask) for _ in range(3)]
    for asker in askers:
        asker.start()
    for _ in range(3):
        with owned(record.directory):
            assert record.status == "running"
    ended.set()
    for asker in askers:
        asker.join()
    assert record.status == "interrupted"


def test_only_the_locks_of_runs_that_say_running_are_tried(make_run: MakeRun, outputs: Path):
    runs = [make_run(f"seed={seed}", status=status) for seed, status in enumerate(("done", "failed", "running"))]
    code = (
        "import sys\nopened = []\n"
        "sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == 'open' else None)\n"
        "from src.runs.__main__ import main\nmain(['ls'])\n"
        "print(sorted({path for path in opened if path.endswith('/.lock')}))\n"
    )
    variables = {**os.environ, "OUTPUTS_DIR": str(outputs)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=variables, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == str([str(runs[2].directory / ".lock")]), done.stderr


def test_the_latest_sweep_is_the_last_that_began(outputs: Path, command: Command, make_run: MakeRun):
    line = CommandLine([], ["seed=1"], multirun=True, asks=None)
    # Ids of earlier versions tell local time: the first began in Tokyo.
    for name, started in (
        ("s20260101-090000-aaaa", "2026-01-01T00:00:00"),
        ("s20260101-003000-bbbb", "2026-01-01T00:30:00"),
    ):
        make_run("seed=1", sweep=name)
        sweep = Sweep.start(
            outputs / "sweeps" / name,
            line.flags,
            line.overrides,
            jobs=None,
            trials=1,
            mode="max",
            search=None,
            git=None,
        )
        sweep.values["started"] = f"{started}+00:00"
        sweep.save()
    (outputs / "sweeps" / "s20270101-000000-cccc").mkdir()
    (outputs / "sweeps" / "s20270101-000000-cccc" / "sweep.json").write_text("damaged")
    assert json.loads(command("runs", "ls", "--sweep", "latest", "--json").stdout)["sweep"] == name
    assert f"{name} is finished" in command("train", "-m", "resume=latest").stdout
    several = command("runs", "ls", "--sweep", "s20260101").stderr
    assert "2 sweeps go by that; the latest are s20260101-090000-aaaa, s20260101-003000-bbbb" in several
    [job] = (outputs / "sweeps" / name).glob("*/run.json")
    job.write_text("{}")
    damaged = command("runs", "ls", "--sweep", "latest")
    assert (damaged.status, damaged.stderr.count("\n")) == (1, 1)
    assert f"{job} is not a run's record" in damaged.stderr


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path):
    path = tmp_path / "run.json"
    write(path, "before")
    with files_of_at_most(100), pytest.raises(OSError, match="File too large"):
        write(path, "after" * 100)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(tmp_path: Path):
    from src.errors import UserError

    path, io = tmp_path / "last.ckpt", DurableCheckpointIO()
    io.save_checkpoint({"epoch": 1}, path)
    message = r"last.ckpt cannot be written \(File too large\)"
    with files_of_at_most(100), pytest.raises(UserError, match=message):
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
    assert "task.gradient_clip_norm" not in start.hparams
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
    assert [point.value for point in seen.Scalars("best/val/acc")] == [pytest.approx(0.9)]
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
