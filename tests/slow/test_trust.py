"""What a run promises when it is cut off, moved, damaged, or started by somebody else."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import psutil
import pytest

from src.paths import ROOT
from src.records.record import Record
from src.training.checkpoints import newest
from tests.conftest import SMALL, Command, copy_of_the_project
from tests.helpers.boards import wait_for
from tests.helpers.clusters import two_machines
from tests.helpers.outcome import curves
from tests.helpers.trust import FOUR, finish, free_port, secrets_in, spawn, task, unusual

__all__ = ["free_port", "two_machines"]


# -- real processes


TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node=2", "-m", "src.train")


def test_torchrun_starts_the_ranks_and_one_run_comes_out(outputs: Path, command: Command):
    done = finish(spawn(outputs, *SMALL, "model.dropout=0.2", launcher=TORCHRUN), outputs)
    assert done.status == 0, done.stdout
    [run], [directory] = done.runs, done.directories
    assert run["status"] == "done"
    assert (run["config"]["trainer"]["devices"], run["environment"]["devices"]) == (2, 2)
    assert "rank 1 of 2" in (directory / "rank-1.log").read_text()
    own = command("train", *SMALL, "model.dropout=0.2", "trainer.devices=2")
    assert own.runs[0]["metrics"] == own.runs[1]["metrics"]


def test_a_mistake_under_torchrun_is_said_once(outputs: Path):
    done = finish(spawn(outputs, "optimizer.lrr=1", launcher=TORCHRUN), outputs)
    assert done.status != 0
    assert done.stdout.count("did you mean") == 1
    assert not outputs.exists()


def test_two_machines_train_one_run_and_resume_it(outputs: Path, command: Command, free_port: int):
    def on_both(*words: str) -> dict[str, Any]:
        shape = ("--nnodes=2", "--nproc-per-node=1", "--master-addr=localhost", f"--master-port={free_port}")
        launcher = ("-m", "torch.distributed.run", *shape)
        agents = [
            spawn(outputs, *words, launcher=(*launcher, f"--node-rank={node}", "-m", "src.train")) for node in range(2)
        ]
        done, other = (finish(agent, outputs) for agent in agents)
        assert (done.status, other.status) == (0, 0), f"{done.stdout}\nand the other:\n{other.stdout}"
        [run] = done.runs
        assert (run["config"]["trainer"]["devices"], run["config"]["trainer"]["num_nodes"]) == (1, 2)
        return run

    run = on_both(*SMALL)
    longer = on_both(f"resume={run['id']}", "trainer.max_epochs=3")
    assert len(longer["resumed"]) == 1
    for epochs, metrics in ((2, run["metrics"]), (3, longer["metrics"])):
        own = command("train", *SMALL, "trainer.devices=2", f"trainer.max_epochs={epochs}")
        assert own.runs[-1]["metrics"] == metrics


def test_slurms_tasks_are_the_ranks(outputs: Path, free_port: int):
    tasks = [task(number, free_port, outputs, *SMALL) for number in range(2)]
    for done in [finish(one, outputs) for one in tasks]:
        assert done.status == 0, done.stdout
    [run] = done.runs
    assert run["environment"]["devices"] == 2
    assert run["environment"]["slurm_job"] == "77"


@pytest.mark.parametrize("cause", ["a signal", "a killed rank", "a limit"])
def test_ranks_that_wait_within_torch_end_with_their_record_closed(outputs: Path, free_port: int, cause: str):
    words = [*SMALL, *(["trainer.max_minutes=0.001"] if cause == "a limit" else [])]
    tasks = [task(number, free_port, outputs, *words) for number in range(2)]
    wait_for(lambda: list(outputs.glob("runs/*/run.json")))
    other = psutil.Process(tasks[1].pid)
    wait_for(other.children)
    [frozen] = other.children()
    frozen.suspend()  # rank 0 waits for it, within gloo
    if cause == "a signal":
        time.sleep(2)
        tasks[0].send_signal(signal.SIGTERM)
    elif cause == "a killed rank":
        frozen.kill()
    done = finish(tasks[0], outputs)
    if frozen.is_running():
        frozen.kill()
    finish(tasks[1], outputs)
    [run] = done.runs
    expected = {
        "a signal": (143, "interrupted", "None"),
        "a killed rank": (1, "failed", r"rank 1 on .*: the training process .* \(SIGKILL\).*"),
        "a limit": (1, "failed", r"the run took longer than trainer.max_minutes=0.001: .*"),
    }
    status, ended, error = expected[cause]
    assert (done.status, run["status"]) == (status, ended), done.stdout
    assert re.fullmatch(error, str(run["error"]))


@pytest.mark.parametrize("interface", [None, "lo"])
def test_machines_meet_whose_own_names_are_loopback_addresses(
    outputs: Path, two_machines: tuple[list[str], list[str]], free_port: int, interface: str | None
):
    env = {"GLOO_SOCKET_IFNAME": interface} if interface else {}
    shape = ("--nnodes=2", "--nproc-per-node=1", "--master-addr=10.77.0.1", f"--master-port={free_port}")
    agents = [
        spawn(
            outputs,
            *SMALL,
            launcher=("-m", "torch.distributed.run", *shape, f"--node-rank={node}", "-m", "src.train"),
            prefix=machine,
            **env,
        )
        for node, machine in enumerate(two_machines)
    ]
    done, other = (finish(agent, outputs) for agent in agents)
    [run] = done.runs
    if interface is None:
        assert (done.status, other.status) == (0, 0), f"{done.stdout}\nand the other:\n{other.stdout}"
        assert (run["status"], run["config"]["trainer"]["num_nodes"]) == ("done", 2)
    else:  # the user's choice counts, and does not lead to the other machine
        assert (done.status, other.status) == (1, 1)
        assert run["status"] == "failed"
        assert "cannot connect to the others through GLOO_SOCKET_IFNAME=lo: set it" in run["error"]
        assert run["error"] in done.stdout


def test_slurms_signal_saves_requeues_and_the_next_start_goes_on(outputs: Path, tmp_path: Path):
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path / "asked"}\n')
    scontrol.chmod(0o755)
    slurm = {"SLURM_JOB_ID": "4711", "PATH": f"{scontrol.parent}:{os.environ['PATH']}"}
    words = [*SMALL, "trainer.max_epochs=400"]
    running = spawn(outputs, *words, **slurm)
    wait_for(lambda: list(outputs.glob("runs/*/checkpoints/last.ckpt")))
    running.send_signal(signal.SIGUSR1)
    done = finish(running, outputs)
    assert done.status == 138, done.stdout
    assert (tmp_path / "asked").read_text() == "requeue 4711\n"
    assert done.runs[0]["status"] == "interrupted"
    again = finish(spawn(outputs, *words, SLURM_RESTART_COUNT="1", **slurm), outputs)
    assert again.status == 0, again.stdout
    assert "resumes from" in again.stdout
    [run] = again.runs
    assert run["status"] == "done"
    over = finish(spawn(outputs, *words, SLURM_RESTART_COUNT="2", **slurm), outputs)
    assert over.status == 0
    assert "is finished" in over.stdout


def test_evaluation_counts_each_sample_once_on_any_number_of_ranks(tmp_path: Path):
    counts = []
    for ranks in (1, 2, 3):
        done = subprocess.run(
            [sys.executable, "-m", "tests.helpers.counts", str(ranks), str(tmp_path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, done.stderr
        counts.append(json.loads(done.stdout.splitlines()[-1]))
    assert counts[0]["samples"] == [9999]
    assert counts[0] == counts[1] == counts[2]


def test_tensorboard_shows_one_curve_in_both_of_its_loaders(outputs: Path, train_here: Command, free_port: int):
    words = ["logger=tensorboard", "data.batch_size=16", "trainer.max_epochs=3"]
    [directory] = train_here(*words).directories
    running = spawn(outputs, *SMALL, *words, "trainer.max_epochs=400", "name=killed")
    wait_for(lambda: len(list(outputs.glob("runs/*/checkpoints/previous.ckpt"))) > 1)
    running.kill()
    running.wait()
    [killed] = [path for path in outputs.glob("runs/*") if path != directory]
    assert newest(killed / "checkpoints")
    resumed = spawn(outputs, f"resume={killed.name}")
    wait_for(lambda: Record.load(killed).values["resumed"])
    time.sleep(2)
    resumed.terminate()
    assert finish(resumed, outputs).status == 143
    python = curves(killed)
    assert len(python["train/loss"]) > 2
    server = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tensorboard.main",
            "--logdir",
            str(outputs),
            "--port",
            str(free_port),
            "--load_fast=true",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        address = f"http://localhost:{free_port}/data/plugin/scalars/scalars"

        def fast(tag: str) -> list[tuple[int, float]]:
            query = urlencode({"run": f"runs/{killed.name}", "tag": tag})
            try:
                with urlopen(f"{address}?{query}", timeout=5) as answer:
                    return [(step, value) for _, step, value in json.load(answer)]
            except OSError:  # not up yet, or not yet read
                return []

        wait_for(lambda: fast("train/loss"))
        for tag, points in python.items():
            steps = [step for step, _ in fast(tag)]
            assert steps == [step for step, _ in points], tag
            assert steps == sorted(set(steps))
        epochs = [step for step, _ in python["train/loss"]]
        assert epochs == list(range(epochs[0], epochs[-1] + 1, epochs[0]))
    finally:
        server.kill()
        server.wait()


def test_the_faults_of_the_soak_in_short():
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.soak", "--short", "--seed", "1"],
        cwd=ROOT,
        env={key: value for key, value in os.environ.items() if key != "OUTPUTS_DIR"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr


# -- the code of a run


def test_what_does_not_reproduce_is_told(train: Command, command: Command):
    [directory] = train().directories
    record = Record.load(directory)
    record.update(metrics={**record.values["metrics"], "test/acc": 0.5})
    done = command("runs", "reproduce", "latest", "--run")
    assert done.status == 1
    assert "not equal" in done.stdout
    record.update(overrides=["--multirun", "seed=1,2"])
    refused = command("runs", "reproduce", directory.name)
    assert refused.status == 1
    assert "was not written by this project" in refused.stderr


def test_a_run_is_reproduced_under_any_configuration_of_git_and_only_with_its_settings(
    command: Command, outputs: Path, tmp_path: Path
):
    project = copy_of_the_project(tmp_path / "project")
    (project / "conf" / "experiment" / "from_outside.yaml").write_text(
        "# @package _global_\nseed: ${oc.decode:${oc.env:RUN_SEED}}\n"
    )
    (project / ".gitignore").write_text("__pycache__/\n/data\n")
    for words in (["init", "-q"], ["add", "."], ["-c", "user.name=n", "-c", "user.email=a@b", "commit", "-qm", "one"]):
        subprocess.run(["git", *words], cwd=project, check=True)
    code = project / "src" / "models" / "mlp.py"
    committed = code.read_text()
    code.write_text(f"{committed}\n# changed  \n")
    user = unusual(project, tmp_path / "user")
    words = [*SMALL, f"data.dir={ROOT / 'data'}", "experiment=from_outside"]
    first = command("train", *words, cwd=project, RUN_SEED="3", **user)
    assert first.status == 0, first.stderr
    [directory] = first.directories
    assert "--- a/src/models/mlp.py" in (directory / "code.patch").read_text()
    code.write_text(committed)
    other = command("runs", "reproduce", "latest", "--run", cwd=project, RUN_SEED="4", **user)
    assert other.status == 1
    assert "gives other settings than recorded (seed 3 to 4)" in other.stderr
    absent = command("runs", "reproduce", "latest", "--run", cwd=project, **user)
    assert absent.status == 1
    assert "RUN_SEED" in absent.stderr
    assert len(absent.runs) == 1  # neither has trained
    done = command("runs", "reproduce", "latest", "--run", cwd=project, RUN_SEED="3", **user)
    assert done.status == 0, done.stdout + done.stderr
    assert "equal, to the last digit" in done.stdout
    one, again = done.runs
    assert {**again["git"], "patch": None} == {**one["git"], "patch": None}
    assert (done.directories[1] / "code.patch").read_bytes() == (directory / "code.patch").read_bytes()


# -- secrets


CLIENT = """
import lightning.pytorch as pl


class Client(pl.Callback):
    def __init__(self, api_key, url, address, mirror):
        self.given = [api_key, url, address, mirror]

    def setup(self, trainer, pl_module, stage):
        if self.given != [
            "key-in-a-variable",
            "https://me:" "pw-of-the-command-line@host/x",
            "redis://:" "pw-of-a-file@host:1/0",
            "https://host/?token=" "token-in-a-variable",
        ]:
            raise RuntimeError(f"these are not the secrets: {self.given}")

    def on_train_end(self, trainer, pl_module):
        raise RuntimeError(f"cannot reach {self.given}")
"""


def test_secrets_are_used_and_written_nowhere(command: Command, outputs: Path, tmp_path: Path):
    project = copy_of_the_project(tmp_path / "project")
    (project / "src" / "callbacks" / "client.py").write_text(CLIENT)
    (project / "conf" / "callbacks" / "client.yaml").write_text(
        "defaults:\n  - default\n\nclient:\n  _target_: src.callbacks.client.Client\n  api_key: ${oc.env:CLIENT_API_KEY}\n"
        "  url: null\n  address: redis://:pw-of-a-file@host:1/0\n  mirror: https://host/?token=${oc.env:OTHER}\n"
    )
    (project / ".gitignore").write_text("__pycache__/\n/data\n")
    for words in (["init", "-q"], ["add", "."], ["-c", "user.name=n", "-c", "user.email=a@b", "commit", "-qm", "one"]):
        subprocess.run(["git", *words], cwd=project, check=True)
    (project / "src" / "new.py").write_text('DATABASE = "postgresql://me:pw-of-a-file@host/x"  # token-in-a-variable\n')
    known = {"CLIENT_API_KEY": FOUR[0], "OTHER": FOUR[3], "OTHER_TOKEN": FOUR[3]}
    words = [*SMALL, "callbacks=client", "logger=both", "callbacks.client.url=https://me:pw-of-the-command-line@host/x"]
    first = command("train", *words, cwd=project, **known)
    assert first.status == 1
    [run] = first.runs
    assert "RuntimeError: cannot reach" in run["error"]  # the object had them, and its traceback is in the log
    node = run["config"]["callbacks"]["client"]
    assert node["api_key"] == "${oc.env:CLIENT_API_KEY}"
    assert node["url"] == "https://me:${oc.env:CALLBACKS_CLIENT_URL_PASSWORD}@host/x"
    assert "+DATABASE" in (first.directories[0] / "code.patch").read_text()
    printed = [first.stdout, first.stderr]
    for shown in (
        command("runs", "show", run["id"], cwd=project, **known),
        command("runs", "report", run["id"], cwd=project, **known),
        command("train", "--cfg", "job", "--resolve", *words, cwd=project, **known),
    ):
        assert shown.status == 0, shown.stderr
        printed += [shown.stdout, shown.stderr]
    assert secrets_in(*printed, below=outputs) == set()
    unknown = command("train", f"resume={run['id']}", cwd=project, **known)
    assert unknown.status == 2
    assert "set the environment variable CALLBACKS_CLIENT_" in unknown.stderr
    again = command(
        "train",
        f"resume={run['id']}",
        "callbacks.client.url=https://me:pw-of-the-command-line@host/x",
        "callbacks.client.address=redis://:pw-of-a-file@host:1/0",
        cwd=project,
        **known,
    )
    assert again.status == 0, again.stdout + again.stderr
    assert secrets_in(again.stdout, again.stderr, below=outputs) == set()


def test_a_search_with_a_password_is_carried_out_and_resumed(command: Command, outputs: Path):
    address = f'"sqlite:///file:{outputs.parent / "study.db"}?uri=true&password=pw-of-the-command-line"'
    words = [
        "-m",
        "hydra/sweeper=optuna",
        "hydra.sweeper.n_trials=2",
        "hydra.sweeper.pruner=median",
        "optimizer=sgd,adam",
    ]
    parallel = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]  # its workers open the study, too
    first = command("train", *SMALL, *words, *parallel, f"hydra.sweeper.storage={address}")
    assert [run["status"] for run in first.runs] == ["done", "done"], first.stderr
    more = ["-m", "resume=latest", "hydra.sweeper.n_trials=3", f"hydra.sweeper.storage={address}"]
    resumed = command("train", *more)
    assert [run["status"] for run in resumed.runs] == ["done"] * 3, resumed.stderr
    assert FOUR[1] not in secrets_in(first.stdout, first.stderr, resumed.stdout, resumed.stderr, below=outputs)
