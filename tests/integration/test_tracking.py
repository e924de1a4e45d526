"""Records, directories and TensorBoard: what a run leaves behind can be found and believed."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from tensorboard.plugins.hparams import plugin_data_pb2

from src.config.command_line import CommandLine
from src.paths import ROOT
from src.records.lock import owned
from src.records.record import Record
from src.records.sweep import Sweep
from tests.conftest import Command, Fit, MakeRun
from tests.helpers.tracking import events

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
def test_a_run_in_a_container_is_known_by_its_lock(make_run: MakeRun, here: Command, name: str | None):
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
        listed = json.loads(here("runs", "ls", "running", "--json").stdout)
        assert [run["id"] for run in listed] == [record.values["id"]]
        refused = here("train", f"resume={record.values['id']}")
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


def test_the_latest_sweep_is_the_last_that_began(outputs: Path, here: Command, make_run: MakeRun):
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
    assert json.loads(here("runs", "ls", "--sweep", "latest", "--json").stdout)["sweep"] == name
    assert f"{name} is finished" in here("train", "-m", "resume=latest").stdout
    several = here("runs", "ls", "--sweep", "s20260101").stderr
    assert "2 sweeps go by that; the latest are s20260101-090000-aaaa, s20260101-003000-bbbb" in several
    [job] = (outputs / "sweeps" / name).glob("*/run.json")
    job.write_text("{}")
    damaged = here("runs", "ls", "--sweep", "latest")
    assert (damaged.status, damaged.stderr.count("\n")) == (1, 1)
    assert f"{job} is not a run's record" in damaged.stderr


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
    assert start.hparams["optimizer"].string_value == "SGD"
    assert "task.gradient_clip_norm" not in start.hparams
    assert "hp_metric" not in seen.Tags()["scalars"]
    assert not list(result["directory"].glob("hparams.yaml"))


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
