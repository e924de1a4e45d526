"""The examples whose training takes longer, or needs worker processes; and everything that can be done with a GAN's runs."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from src.paths import ROOT
from tests.conftest import Command
from tests.helpers.boards import dashboard, eventually, wait_for
from tests.helpers.mixins import ModuleTests
from tests.helpers.outcome import differences, outcome


class TestNetwork(ModuleTests):
    words = (
        "experiment=example_cnn",
        "data.train_size=512",
        "data.val_size=256",
        "data.steps_per_execution=1",
        "model.channels=4",
        "trainer.max_epochs=2",
        "optimizer.lr=0.01",
    )


class TestText(ModuleTests):
    words = ("experiment=example_text", "trainer.max_epochs=3", "data.size=400", "model.hidden=16", "optimizer.lr=0.01")


class TestImageFiles(ModuleTests):
    words = (
        "experiment=example_resnet",
        "data.images=64",
        "data.size=32",
        "data.batch_size=16",
        "trainer.max_epochs=2",
    )
    overfit_steps = 10
    distributed_words = None  # it normalises batches

    @classmethod
    def write_data(cls, folder: Path) -> Sequence[str]:
        return [f"data.dir={folder / 'digits'}"]


class TestGAN(ModuleTests):
    words = ("experiment=example_gan", "data.train_size=320", "task.hidden=32", "trainer.max_epochs=3")
    loss = "d_loss"
    overfit_words = ("task.lr=0.01",)
    distributed_words = ("+trainer.strategy=ddp_find_unused_parameters_true",)


class TestStream(ModuleTests):
    words = ("experiment=example_stream", "data.size=320", "trainer.max_epochs=2")
    overfit_words = ("data.workers=0",)


def interrupt(outputs: Path, *words: str) -> None:
    """Start a training, and end it by SIGTERM a moment after its first checkpoint."""
    training = subprocess.Popen(
        [sys.executable, "-m", "src.train", *words],
        cwd=ROOT,
        env={**os.environ, "OUTPUTS_DIR": str(outputs)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: any(outputs.glob("runs/*/checkpoints/last.ckpt")))
    time.sleep(0.5)
    training.send_signal(signal.SIGTERM)
    assert training.wait() == 128 + signal.SIGTERM


def test_two_processes_are_interrupted_and_resumed(command: Command, outputs: Path):
    words = ["experiment=example_text", "data.size=1000", "model.hidden=8", "trainer.max_epochs=30"]
    words += ["logger=both", "trainer.accelerator=cpu", "trainer.devices=2"]
    interrupt(outputs, *words)
    assert command("train", "resume=latest").status == 0
    done = command("train", *words)
    assert done.status == 0
    resumed, whole = done.directories
    assert differences(outcome(resumed), outcome(whole)) == []


def test_the_whole_cycle_of_a_gan(command: Command, outputs: Path):
    words = ["experiment=example_gan", "data.train_size=640", "task.hidden=32"]
    done = command("train", "-m", *words, "trainer.max_epochs=2", "task.lr=1e-3,2e-4")
    assert done.status == 0, done.stderr
    jobs = done.runs
    assert [(run["status"], run["config"]["task"]["lr"]) for run in jobs] == [("done", 1e-3), ("done", 2e-4)]
    for run in jobs:
        assert {"d_loss", "g_loss"} <= set(run["metrics"])
        assert run["config"]["optimizer"] is run["config"]["model"] is run["config"]["schedule"] is None

    interrupt(outputs, *words, "trainer.max_epochs=60")
    [record] = outputs.glob("runs/*/run.json")
    assert json.loads(record.read_text())["status"] == "interrupted"
    assert command("train", "resume=latest").status == 0
    resumed = json.loads(record.read_text())
    assert resumed["status"] == "done"
    assert resumed["best"]["checkpoint"] == "checkpoints/best.ckpt"

    rows = json.loads(command("runs", "ls", "--json").stdout)
    assert {row["status"] for row in rows} == {"done"}
    assert len(rows) == 3
    assert "g_loss" in command("runs", "show", resumed["id"]).stdout
    assert "task.lr" in command("runs", "diff", *(run["id"] for run in jobs)).stdout

    with dashboard(outputs) as board:

        def check() -> None:
            shown = {kind: board.ask(f"plugin/{kind}/tags").values() for kind in ("scalars", "images")}
            tags = {kind: {tag for one in runs for tag in one} for kind, runs in shown.items()}
            rates = {"within the epochs/lr", "within the epochs/lr/optimizer2"}
            assert {"d_loss_epoch", "g_loss_step", *rates} <= tags["scalars"]
            assert tags["images"] == {"generated"}

        eventually(check)

    evaluated = command("evaluate", resumed["id"])
    assert evaluated.status == 1
    assert evaluated.stderr.strip().splitlines()[-1].endswith("was trained with GAN, which has no test_step.")
    assert "Traceback" not in evaluated.stderr
