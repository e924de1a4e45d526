"""What a run promises when it is cut off, moved, damaged, or started by somebody else."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import psutil
import pytest

from src.config.command_line import parse
from src.config.compose import make_plan
from src.errors import ConfigError, UserError
from src.launching.cluster import RankInfo
from src.launching.store import RankStore
from src.masking import conceal_words, mask, reveal
from src.paths import ROOT
from src.records.git import git
from src.records.lock import is_alive, owned, owner
from src.records.record import Record
from src.records.sweep import Sweep
from src.sweeps.study import open_study
from src.training.checkpoints import is_whole, load, newest
from tests.boards import wait_for
from tests.conftest import SMALL, Command, Finished, MakeRun, copy_of_the_project
from tests.outcome import curves, differences, outcome

THREE = ["trainer.max_epochs=3", "model.dropout=0.2"]


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_a_finished_run_says_so_and_changes_nothing(train_here: Command):
    [directory] = train_here().directories
    before = contents(directory)
    done = train_here(f"resume={directory.name}", small=False)
    assert done.status == 0
    assert "is finished, all 2 epochs: there is nothing to resume" in done.stdout
    assert contents(directory) == before


def test_a_finished_run_can_be_given_more_epochs(train_here: Command):
    [short] = train_here(*THREE[1:]).directories
    done = train_here(f"resume={short.name}", "trainer.max_epochs=3", "tags=[longer]", small=False)
    assert done.status == 0, done.stderr
    [run] = done.runs
    assert (run["status"], run["tags"], run["config"]["trainer"]["max_epochs"]) == ("done", ["longer"], 3)
    assert run["overrides"][-2:] == ["trainer.max_epochs=3", "tags=[longer]"]
    assert len(run["resumed"]) == 1
    train_here(*THREE)
    assert not differences(outcome(done.directories[0]), outcome(done.directories[1]))


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["optimizer.lr=1"], 2, "optimizer.lr=1: a run goes on as it began"),
        (["seed=1,2"], 2, "plain key=value"),
        (["trainer.max_epochs=1"], 2, "less than the 3"),
        (["trainer.max_epochs=0"], 2, "trainer.max_epochs=0 must be at least 1"),
        (["trainer.devices=64"], 2, "trainer.devices=64"),
        (["tags=x y"], 2, "must be a list"),
        (["--cfg", "job"], 2, "leave out other flags"),
    ],
)
def test_what_may_not_differ_is_refused(train_here: Command, words: list[str], status: int, said: str):
    [directory] = train_here(*THREE).directories
    unfinish(directory)
    before = contents(directory)
    done = train_here(f"resume={directory}", *words, small=False)
    assert done.status == status
    assert said in done.stderr
    assert contents(directory) == before


@pytest.mark.parametrize("schedule", ["cosine", "one_cycle"])
def test_a_schedule_that_ends_with_the_run_allows_no_other_length(train_here: Command, schedule: str):
    train_here(f"schedule={schedule}", "name=planned")
    done = train_here("resume=planned", "trainer.max_epochs=3", small=False)
    assert done.status == 2
    assert f"schedule={schedule} ends with the last epoch" in done.stderr


@pytest.mark.parametrize("word", ["latest", "r2026", "https://example.org/last.ckpt", "", "null"])
def test_a_run_that_is_not_there_cannot_be_resumed(train_here: Command, word: str):
    done = train_here(f"resume={word}", small=False)
    assert done.status in (1, 2)
    assert done.stderr.startswith("error: ")
    assert not done.outputs.exists()


def unfinish(directory: Path, status: str = "interrupted", **environment: Any) -> None:
    """Make a finished run look as if it had been cut off before its last epoch."""
    record = Record.load(directory)
    folder = directory / "checkpoints"
    os.replace(folder / "previous.ckpt", folder / "last.ckpt")
    record.update(status=status, environment={**record.values["environment"], **environment})


def test_a_run_at_work_is_not_resumed_and_a_killed_one_is(train_here: Command):
    [directory] = train_here(*THREE).directories
    whole = outcome(directory)
    unfinish(directory, "running", **owner())
    with owned(directory):
        refused = train_here(f"resume={directory.name}", small=False)
        assert refused.status == 1
        assert f"is still running, as process {os.getpid()}" in refused.stderr
        assert train_here("resume=latest", small=False).status == 1
    assert Record.load(directory).status == "interrupted"
    assert train_here("resume=latest", small=False).status == 0
    assert not differences(outcome(directory), whole)


def test_a_lock_holds_while_its_process_lives(tmp_path: Path):
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom src.records.lock import owned\n"
        "with owned(Path(sys.argv[1])):\n    print('mine', flush=True)\n    time.sleep(100)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"mine\n"
        with pytest.raises(UserError, match="another command"), owned(tmp_path, patience=0.2):
            pass
        other.kill()
    with owned(tmp_path):
        pass


def test_who_is_alive():
    assert is_alive(owner()) is True
    assert is_alive({**owner(), "pid_started": 1.0}) is False  # the number was given to another process
    with subprocess.Popen([sys.executable, "-c", "pass"]) as other:
        there = {**owner(), "pid": other.pid, "pid_started": psutil.Process(other.pid).create_time()}
    assert is_alive(there) is False
    for elsewhere in ({**there, "host": "elsewhere"}, {**there, "pid_namespace": "another"}, {}):
        assert is_alive(elsewhere) is None


@pytest.mark.parametrize("damage", ["truncated", "one byte", "missing"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(train_here: Command, damage: str):
    [directory] = train_here(*THREE).directories
    whole = outcome(directory)
    Record.load(directory).update(status="interrupted")
    path = directory / "checkpoints" / "last.ckpt"
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "one byte":
        content[len(content) // 2] ^= 255
        path.write_bytes(content)
    else:
        path.unlink()
    assert not is_whole(path)
    done = train_here("resume=latest", small=False)
    assert done.status == 0, done.stderr
    assert "previous.ckpt" in done.stdout
    assert damage == "missing" or "last.ckpt is damaged" in done.stdout
    assert not differences(outcome(directory), whole)


def test_when_all_checkpoints_are_damaged_or_gone_nothing_is_trained(train_here: Command):
    [directory] = train_here().directories
    Record.load(directory).update(status="interrupted")
    for path in (directory / "checkpoints").iterdir():
        path.write_bytes(b"nothing")
    done = train_here("resume=latest", small=False)
    assert done.status == 1
    assert "last.ckpt and previous.ckpt and best.ckpt cannot be read" in done.stderr
    shutil.rmtree(directory / "checkpoints")
    done = train_here("resume=latest", small=False)
    assert done.status == 1
    assert "its checkpoints were removed" in done.stderr


def test_a_run_that_was_moved_keeps_its_best(train_here: Command, tmp_path: Path):
    [directory] = train_here(*THREE, "callbacks.best.every_n_epochs=2").directories
    assert Record.load(directory).values["best"]["epoch"] == 1
    whole = outcome(directory)
    unfinish(directory)
    moved = tmp_path / "elsewhere"
    shutil.move(directory, moved)
    done = train_here(f"resume={moved}", small=False)
    assert done.status == 0, done.stderr
    assert not differences(outcome(moved), whole)
    assert not directory.exists()


def test_another_versions_record_and_a_foreign_checkpoint_run_nothing(train_here: Command):
    import torch

    [directory] = train_here().directories
    record = Record.load(directory)
    config = {**record.values["config"], "model": {"_target_": "os.system", "command": "true"}}
    record.update(status="interrupted", config=config)
    done = train_here("resume=latest", small=False)
    assert done.status == 1
    assert "model._target_='os.system' is not allowed" in done.stderr
    record.update(config={**config, "model": record.values["config"]["model"] | {"_target_": "src.models.mlp.MLP"}})
    torch.save({"state_dict": {}, "code": torch.nn.Linear(1, 1)}, directory / "checkpoints" / "last.ckpt")
    assert train_here("resume=latest", small=False).status == 1


def test_a_second_training_gives_the_same_bits(train_here: Command):
    words = [*THREE, "data.augment.rotation=5"]
    one, two = [outcome(train_here(*words).directories[-1]) for _ in range(2)]
    assert not differences(one, two)


def test_every_checkpoint_is_plain_data(train_here: Command):
    [directory] = train_here("callbacks=ema", "schedule=plateau", "name=plain").directories
    names = {path.name for path in (directory / "checkpoints").iterdir()}
    assert names == {"best.ckpt", "last.ckpt", "previous.ckpt"}
    for name in names:
        assert load(directory / "checkpoints" / name)["epoch"] in (0, 1)


# -- real processes


def spawn(
    outputs: Path,
    *words: str,
    launcher: tuple[str, ...] = ("-m", "src.train"),
    prefix: Sequence[str] = (),
    **env: str,
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*prefix, sys.executable, *launcher, *words],
        cwd=ROOT,
        env={**os.environ, "OUTPUTS_DIR": str(outputs), "COLUMNS": "200", **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str], outputs: Path) -> Finished:
    said, _ = process.communicate(timeout=200)
    return Finished(process.returncode, said, said, outputs)


TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node=2", "-m", "src.train")


@pytest.mark.slow
def test_torchrun_starts_the_ranks_and_one_run_comes_out(outputs: Path, command: Command):
    done = finish(spawn(outputs, *SMALL, "model.dropout=0.2", launcher=TORCHRUN), outputs)
    assert done.status == 0, done.stdout
    [run], [directory] = done.runs, done.directories
    assert run["status"] == "done"
    assert (run["config"]["trainer"]["devices"], run["environment"]["devices"]) == (2, 2)
    assert "rank 1 of 2" in (directory / "rank-1.log").read_text()
    own = command("train", *SMALL, "model.dropout=0.2", "trainer.devices=2")
    assert own.runs[0]["metrics"] == own.runs[1]["metrics"]


@pytest.mark.slow
def test_a_mistake_under_torchrun_is_said_once(outputs: Path):
    done = finish(spawn(outputs, "optimizer.lrr=1", launcher=TORCHRUN), outputs)
    assert done.status != 0
    assert done.stdout.count("did you mean") == 1
    assert not outputs.exists()


@pytest.mark.parametrize(
    ("words", "said"), [(["-m", "seed=1,2"], "start the sweep without them"), (["trainer.devices=3"], "leave it out")]
)
def test_what_torchrun_decides_cannot_be_asked_for(
    train_here: Command, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
):
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    done = train_here(*words)
    assert done.status == 2
    assert said in done.stderr


@pytest.mark.slow
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


@pytest.fixture
def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


def task(number: int, port: int, outputs: Path, *words: str) -> subprocess.Popen[str]:
    """One of the two tasks of a step of SLURM's."""
    step = {"SLURM_JOB_ID": "77", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_NODEID": "0"}
    where = {"SLURM_STEP_TASKS_PER_NODE": "2", "SLURM_STEP_NODELIST": "localhost", "MASTER_PORT": str(port)}
    return spawn(outputs, *words, **step, **where, SLURM_PROCID=str(number), SLURM_LOCALID=str(number))


@pytest.mark.parametrize("given", [{"MASTER_ADDR": "one", "MASTER_PORT": "4000"}, {}])
def test_sruns_variables_are_read_and_left_as_they_are(monkeypatch: pytest.MonkeyPatch, given: dict[str, str]):
    assert RankInfo.from_environment() is None
    step = {
        "SLURM_JOB_ID": "77",
        "SLURM_STEP_ID": "1",
        "SLURM_STEP_NUM_TASKS": "4",
        "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
    }
    task = {"SLURM_STEP_NODELIST": "one,two", "SLURM_NODEID": "1", "SLURM_PROCID": "3", "SLURM_LOCALID": "1"}
    for name, value in {**step, **task, **given}.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    ranks = RankInfo.from_environment()
    assert ranks is not None
    assert (ranks.rank, ranks.world_size, ranks.local_rank, ranks.node, ranks.nodes) == (3, 4, 1, 1, 2)
    assert (ranks.master_addr, ranks.master_port) == ("one", 4000 if given else 20_000 + 77 * 64 + 1)
    assert ranks.overrides([]) == ["trainer.devices=2", "trainer.num_nodes=2"]
    assert os.environ == before
    monkeypatch.setenv("SLURM_STEP_TASKS_PER_NODE", "3,1")
    with pytest.raises(ConfigError, match=r"unevenly over the nodes \(3,1\)"):
        RankInfo.from_environment().overrides([])  # type: ignore[union-attr]


def test_failed_ranks_leave_nothing_for_a_later_rank_to_collect(tmp_path: Path):
    code = """
import gc
import psutil
from src.errors import UserError
from src.launching.hardware import Hardware
from src.launching.launchers import LocalProcesses
from src.launching.processes import RankFailed

def fail(config, directory):
    raise config["error"]

gc.disable()
for error in 5 * (UserError("no"), ValueError("no")):
    try:
        LocalProcesses(Hardware("cpu", 1, 1, 1)).launch(fail, {"error": error}, FOLDER)
    except (UserError, RankFailed) as failure:
        print(type(failure).__name__, failure)
        listening = [one.laddr for one in psutil.Process().net_connections() if one.status == "LISTEN"]
        assert not listening, listening  # the store is served no longer
"""
    words = [sys.executable, "-c", code.replace("FOLDER", repr(str(tmp_path)))]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert done.stdout == 5 * "UserError no\nRankFailed rank 0: ValueError: no\n"


@pytest.mark.slow
def test_slurms_tasks_are_the_ranks(outputs: Path, free_port: int):
    tasks = [task(number, free_port, outputs, *SMALL) for number in range(2)]
    for done in [finish(one, outputs) for one in tasks]:
        assert done.status == 0, done.stdout
    [run] = done.runs
    assert run["environment"]["devices"] == 2
    assert run["environment"]["slurm_job"] == "77"


def test_a_mistake_ends_each_rank_without_the_others(outputs: Path, free_port: int):
    said = []
    for number in range(2):
        done = finish(task(number, free_port, outputs, "optimizer.lrr=1"), outputs)
        assert done.status == 2
        said.append(done.stdout)
    assert said[0].startswith("error: optimizer.lrr")
    assert not said[1]
    assert not outputs.exists()


@pytest.mark.parametrize(("number", "what"), [(0, "rank 1 to start"), (1, "rank 0 at 127.0.0.1")])
def test_a_rank_says_whom_it_waits_for_and_can_be_stopped(outputs: Path, free_port: int, number: int, what: str):
    waiting = task(number, free_port, outputs, *SMALL)
    assert waiting.stdout is not None
    if number == 0:
        assert waiting.stdout.readline().startswith("training ")
    assert f"waiting for {what}" in waiting.stdout.readline()
    waiting.send_signal(signal.SIGTERM if number else signal.SIGINT)
    done = finish(waiting, outputs)
    assert (done.status, done.stdout) == (143 if number else 130, "")
    assert not outputs.exists()


def test_a_rank_that_does_not_come_or_fails_is_named(free_port: int):
    leader, other = (
        RankStore(
            RankInfo(n, 2, local_rank=n, local_world_size=2, node=0, master_addr="127.0.0.1", master_port=free_port)
        )
        for n in range(2)
    )
    with pytest.raises(UserError, match=r"waited 0 s for rank 0 at 127.0.0.1:\d+ \(Connection refused\)"):
        other.connect(patience=0.3)
    leader.connect(patience=0.3)
    with pytest.raises(UserError, match=r"waited 0 s for rank 1 to start, of 2 processes: .*torchrun"):
        leader.register()
    other.connect(patience=0.3)
    other.register()
    leader.register()
    leader.publish({"directory": "here"})
    assert other.wait_for_message() == {"directory": "here"}
    assert leader.failure() is None
    other.fail(UserError("no GPU."))
    leader.fail(UserError("another rank has ended."))
    assert re.fullmatch(r"rank 1 on .*: no GPU\.", str(leader.failure()))


@pytest.mark.slow
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


@pytest.fixture
def two_machines() -> Iterator[tuple[list[str], list[str]]]:
    """Two network namespaces joined by a cable, as prefixes of commands; to each its own name is a loopback address."""

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True, text=True)

    one, two = (f"machine-{os.getpid()}-{n}" for n in range(2))
    try:
        ip("netns", "add", one)
        ip("netns", "add", two)
        ip("link", "add", "cable", "netns", one, "type", "veth", "peer", "name", "cable", "netns", two)
        for n, name in enumerate((one, two)):
            ip("-n", name, "address", "add", f"10.77.0.{n + 1}/24", "dev", "cable")
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", "cable", "up")
        yield ["ip", "netns", "exec", one], ["ip", "netns", "exec", two]
    except FileNotFoundError:
        pytest.skip("network namespaces need iproute2's ip")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"network namespaces are not permitted here: {error.stderr.strip()}")
    finally:
        for name in (one, two):
            if Path("/run/netns", name).exists():
                ip("netns", "delete", name)


@pytest.mark.slow
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


@pytest.mark.slow
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
    assert "goes on from" in again.stdout
    [run] = again.runs
    assert run["status"] == "done"
    over = finish(spawn(outputs, *words, SLURM_RESTART_COUNT="2", **slurm), outputs)
    assert over.status == 0
    assert "is finished" in over.stdout


def test_a_second_rank_writes_nothing_but_its_log(outputs: Path, tmp_path: Path):
    hook = tmp_path / "sitecustomize.py"
    hook.write_text(
        "import os, sys\n"
        "def watch(event, args):\n"
        "    if event == 'open' and os.environ.get('RANK') == '1' and isinstance(args[1], str) and set(args[1]) & set('wax+'):\n"
        f"        if str(args[0]).startswith({str(outputs)!r}):\n"
        f"            os.write(os.open({str(tmp_path / 'opened')!r}, os.O_CREAT | os.O_APPEND | os.O_WRONLY), f'{{args[0]}}\\n'.encode())\n"
        "sys.addaudithook(watch)\n"
    )
    words = [*SMALL, "trainer.devices=2", "logger=both", "callbacks=full"]
    done = finish(spawn(outputs, *words, PYTHONPATH=str(tmp_path)), outputs)
    assert done.status == 0, done.stdout
    assert {Path(line).name for line in (tmp_path / "opened").read_text().splitlines()} == {"rank-1.log"}


@pytest.mark.slow
def test_evaluation_counts_each_sample_once_on_any_number_of_ranks(tmp_path: Path):
    counts = []
    for ranks in (1, 2, 3):
        done = subprocess.run(
            [sys.executable, "-m", "tests.counts", str(ranks), str(tmp_path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, done.stderr
        counts.append(json.loads(done.stdout.splitlines()[-1]))
    assert counts[0]["samples"] == [9999]
    assert counts[0] == counts[1] == counts[2]


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_faults_of_the_soak_in_short():
    done = subprocess.run(
        [sys.executable, "-m", "tests.soak", "--short", "--seed", "1"],
        cwd=ROOT,
        env={key: value for key, value in os.environ.items() if key != "OUTPUTS_DIR"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr


# -- the code of a run


def repository(folder: Path) -> Path:
    folder.mkdir()
    for words in (["init", "-q"], ["config", "user.email", "a@b.c"], ["config", "user.name", "n"]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    (folder / ".gitignore").write_text("ignored\n")
    (folder / "code.py").write_text("one\n")
    subprocess.run(["git", "add", "."], cwd=folder, check=True)
    subprocess.run(["git", "commit", "-qm", "one"], cwd=folder, check=True)
    return folder


def test_the_patch_holds_changes_and_new_files_and_nothing_that_is_ignored(tmp_path: Path):
    project = repository(tmp_path / "project")
    clean = git.__wrapped__(project)
    assert clean["dirty"] is False
    assert clean["patch"] is None
    (project / "code.py").write_text("two\n")
    (project / "new file.py").write_text("three\n")
    (project / "ignored").write_text("secret\n")
    index = (project / ".git" / "index").read_bytes()
    objects = contents(project / ".git" / "objects")
    changed = git.__wrapped__(project)
    assert changed["commit"] == clean["commit"]
    assert b"+two" in changed["patch"]
    assert b"+three" in changed["patch"]
    assert b"secret" not in changed["patch"]
    assert (project / ".git" / "index").read_bytes() == index  # the user's own staging is left alone
    assert contents(project / ".git" / "objects") == objects
    subprocess.run(["git", "worktree", "add", "-q", "--detach", str(tmp_path / "tree")], cwd=project, check=True)
    (tmp_path / "patch").write_bytes(changed["patch"])
    subprocess.run(["git", "apply", str(tmp_path / "patch")], cwd=tmp_path / "tree", check=True)
    assert (tmp_path / "tree" / "code.py").read_text() == "two\n"
    assert (tmp_path / "tree" / "new file.py").read_text() == "three\n"


def test_a_patch_too_large_is_left_out_and_without_git_there_is_none(tmp_path: Path):
    project = repository(tmp_path / "project")
    (project / "large.bin").write_bytes(os.urandom(2_000_000))
    found = git.__wrapped__(project)
    assert (found["dirty"], found["patch"]) == (True, None)
    (tmp_path / "outside").mkdir()
    assert git.__wrapped__(tmp_path / "outside") is None


def test_runs_are_no_code_even_where_outputs_is_a_link(tmp_path: Path):
    project = repository(tmp_path / "project")
    (project / "outputs").mkdir()
    (project / "outputs" / ".gitkeep").touch()
    for words in (["add", "."], ["commit", "-qm", "two"]):
        subprocess.run(["git", *words], cwd=project, check=True)
    shutil.move(project / "outputs", tmp_path / "far")
    (project / "outputs").symlink_to(tmp_path / "far")
    found = git.__wrapped__(project)
    assert (found["dirty"], found["patch"]) == (False, None)
    (project / "code.py").write_text("two\n")
    found = git.__wrapped__(project)
    assert b"code.py" in found["patch"]
    assert b"outputs" not in found["patch"]
    code = "import json; from pathlib import Path; from src.records.git import git; "
    code += f"found = git(Path({str(project)!r})); print(found['dirty'], found['patch'])"
    (project / "results").mkdir()
    (project / "results" / "new").touch()
    subprocess.run(["git", "checkout", "-q", "code.py"], cwd=project, check=True)
    for chosen, said in (("results", "False None\n"), ("elsewhere", "True b")):
        variables = {**os.environ, "OUTPUTS_DIR": str(project / chosen)}
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=variables, capture_output=True, text=True)
        assert done.stdout.startswith(said), done.stderr


def test_a_run_is_reproduced_to_the_last_digit(train: Command, command: Command):
    train("name=first", "model.dropout=0.1")
    told = command("runs", "reproduce", "first")
    assert told.status == 0, told.stderr
    assert "OMP_NUM_THREADS=1 MKL_CBWR=" in told.stdout
    done = command("runs", "reproduce", "first", "--run")
    assert done.status == 0, done.stdout + done.stderr
    assert "equal, to the last digit" in done.stdout
    first, again = done.runs
    assert again["reproduces"] == first["id"]
    assert again["metrics"] == first["metrics"]


@pytest.mark.slow
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


# Whatever a user has set, and wherever: git's own defaults are what is left of it.
SETTINGS = """
[diff]
    noprefix = true
    mnemonicPrefix = true
    algorithm = patience
    context = 0
    renames = copies
    external = false
    ignoreSubmodules = all
[diff "shout"]
    textconv = tr a-z A-Z <
    command = false
[core]
    abbrev = 5
    attributesFile = {folder}/attributes
    autocrlf = true
    fsmonitor = false
    hooksPath = {folder}/hooks
    quotePath = false
    whitespace = trailing-space,tab-in-indent
[apply]
    whitespace = error
    ignoreWhitespace = change
[color]
    ui = always
[status]
    showUntrackedFiles = no
[submodule]
    recurse = true
[commit]
    template = {folder}/none
"""


def unusual(project: Path, folder: Path) -> dict[str, str]:
    """Configure a repository in every way that changes what git prints; returns the same for the environment."""
    (folder / "hooks").mkdir(parents=True)
    for name in ("post-checkout", "post-index-change", "pre-commit"):
        (folder / "hooks" / name).write_text("#!/bin/sh\nexit 1\n")
        (folder / "hooks" / name).chmod(0o755)
    (folder / "attributes").write_text("*.py diff=shout\n")
    (project / ".git" / "info" / "attributes").write_text("*.py diff=shout\n")
    with (project / ".git" / "config").open("a") as file:
        file.write(SETTINGS.format(folder=folder))
    (folder / "config").write_text(SETTINGS.format(folder=folder))
    return {
        "GIT_CONFIG_GLOBAL": str(folder / "config"),
        "GIT_EXTERNAL_DIFF": "false",
        "GIT_DIFF_OPTS": "--unified=0",
        "GIT_INDEX_FILE": str(folder / "index"),
        "GIT_DIR": str(folder),
    }


def test_no_setting_attribute_or_hook_changes_the_patch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    project = repository(tmp_path / "project")
    (project / "code.py").write_text("two  \r\n")  # as long as before, and with space at its end
    (project / "näme.py").write_text("\tthree  \n")
    plain = git.__wrapped__(project)
    assert plain["problem"] is None
    assert b"--- a/code.py\n+++ b/code.py\n@@ -1 +1 @@\n-one\n+two  \r\n" in plain["patch"]
    for name, value in unusual(project, tmp_path / "user").items():
        monkeypatch.setenv(name, value)
    assert git.__wrapped__(project) == plain
    for name in ("GIT_INDEX_FILE", "GIT_DIR", "GIT_CONFIG_GLOBAL", "GIT_EXTERNAL_DIFF"):
        monkeypatch.delenv(name)
    subprocess.run(["git", "update-index", "--assume-unchanged", "code.py"], cwd=project, check=True)
    assert git.__wrapped__(project) == plain


def test_a_patch_holds_staged_deletions_and_renames_and_all_else(tmp_path: Path):
    project = repository(tmp_path / "project")
    for name in ("removed.py", "renamed.py", "kept.py"):
        (project / name).write_text(f"# {name}\n" * 20)
    for words in (["add", "."], ["commit", "-qm", "more"], ["rm", "-q", "removed.py"], ["mv", "renamed.py", "new.py"]):
        subprocess.run(["git", *words], cwd=project, check=True)
    subprocess.run(["git", "rm", "-q", "--cached", "kept.py"], cwd=project, check=True)
    (project / "code.py").write_text("two\n")
    found = git.__wrapped__(project)
    assert found["problem"] is None
    subprocess.run(["git", "worktree", "add", "-q", "--detach", tmp_path / "again"], cwd=project, check=True)
    subprocess.run(["git", "apply", "-"], cwd=tmp_path / "again", input=found["patch"], check=True)
    trees = [
        {path.name: path.read_text() for path in folder.iterdir() if path.is_file() and path.name != ".git"}
        for folder in (project, tmp_path / "again")
    ]
    assert trees[0] == trees[1]
    assert set(trees[0]) >= {"new.py", "kept.py", "code.py"}


def test_the_commit_is_known_where_the_patch_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    project = repository(tmp_path / "project")
    (project / "code.py").write_text("two\n")
    plain = git.__wrapped__(project)
    assert plain["dirty"] is True
    subprocess.run(["git", "init", "-q", "inner"], cwd=project, check=True)
    assert git.__wrapped__(project) == {**plain, "problem": "inner is a repository of its own"}
    shutil.rmtree(project / "inner")
    if os.getuid() == 0:  # or the owner cannot be another
        shutil.copytree(project, tmp_path / "other")
        subprocess.run(["chown", "-R", "1234", tmp_path / "other"], check=True)
        refused = subprocess.run(["git", "status"], cwd=tmp_path / "other", capture_output=True, text=True)
        assert "dubious ownership" in refused.stderr
        assert git.__wrapped__(tmp_path / "other") == plain
    (project / ".gitattributes").write_text("*.py filter=absent\n")
    for setting, value in (("clean", "no-such-command"), ("required", "true")):
        subprocess.run(["git", "config", f"filter.absent.{setting}", value], cwd=project, check=True)
    unknown = {"commit": plain["commit"], "dirty": None, "patch": None}
    assert git.__wrapped__(project) == {**unknown, "problem": "fatal: code.py: clean filter 'absent' failed"}
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git.__wrapped__(project) == {
        **unknown,
        "problem": "git cannot be started (No such file or directory)",
    }
    subprocess.run(["/usr/bin/env", "-i", "/usr/bin/git", "pack-refs", "--all"], cwd=project, check=True)
    assert git.__wrapped__(project)["commit"] == plain["commit"]


def test_what_is_not_known_of_the_code_is_reported(make_run: MakeRun, command: Command):
    problem = "fatal: code.py: clean filter 'absent' failed"
    record = make_run("seed=1", git={"commit": "1" * 40, "dirty": None, "patch": None, "problem": problem})
    shown = command("runs", "reproduce", record.values["id"]).stdout
    assert f"at commit {'1' * 12}" in shown
    assert f"What had been changed since its commit was not recorded ({problem})." in shown
    assert "outside git" not in shown
    nothing = {"commit": None, "dirty": True, "patch": None, "problem": "nothing has been committed yet"}
    record = make_run("seed=2", git=nothing)
    assert "Its commit is not known (nothing has been committed yet)" in command("runs", "reproduce", "latest").stdout
    assert "outside git" in command("runs", "reproduce", make_run("seed=3").values["id"]).stdout


@pytest.mark.slow
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
FOUR = ("key-in-a-variable", "pw-of-the-command-line", "pw-of-a-file", "token-in-a-variable")


def secrets_in(*texts: str, below: Path) -> set[str]:
    content = [text.encode() for text in texts] + [path.read_bytes() for path in below.rglob("*") if path.is_file()]
    return {secret for secret in FOUR if any(secret.encode() in one for one in content)}


@pytest.mark.slow
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


@pytest.mark.parametrize(
    ("text", "without"),
    [
        ("postgresql://u:hunter2@host:5432/x", "postgresql://u:***@host:5432/x"),
        (
            "redis://:hunter2@host and mysql+pymysql://a.b:hunter2!@h/y",
            "redis://:***@host and mysql+pymysql://a.b:***@h/y",
        ),
        ("'postgresql://u:hunt@er2@host/x'", "'postgresql://u:***@host/x'"),
        ("postgresql://u:hun/ter2@host/x", "postgresql://u:***@host/x"),
        ("https://ghp_0123456789abcdefghij@github.com/a/b", "https://***@github.com/a/b"),
        ("https://h/x?user=u&password=hunter2&a=1#token", "https://h/x?user=u&password=***&a=1#token"),
        ("the key hunter2hunter2, of a variable", "the key ${oc.env:SOME_API_KEY}, of a variable"),
        ("http://localhost:6006/a@b and git@github.com:a/b", "http://localhost:6006/a@b and git@github.com:a/b"),
        ('f"postgresql://{user}:{password}@{host}"', 'f"postgresql://{user}:{password}@{host}"'),
        ("hunter2hunter2hunter2 is a word, and PWD none", "hunter2hunter2hunter2 is a word, and PWD none"),
        ("postgresql://u:${oc.env:PASSWORD}@h/x", "postgresql://u:${oc.env:PASSWORD}@h/x"),
        ('+api_key = "sk-123"', '+api_key = "***"'),
        ("+  'password': 'hunter2',", "+  'password': '***',"),
        ("+api_key: sk-123456", "+api_key: ***"),
        (
            "AWS_SECRET_ACCESS_KEY=abcd12345678\nexport HF_TOKEN=hf_12345678",
            "AWS_SECRET_ACCESS_KEY=***\nexport HF_TOKEN=***",
        ),
        (
            'password = ask("password2")\ntoken = tokens[123456789]',
            'password = ask("password2")\ntoken = tokens[123456789]',
        ),
        ("secret: str = os.environ['SECRET_12345678']", "secret: str = os.environ['SECRET_12345678']"),
        ("_KEY = 'books', token = 'a word'", "_KEY = 'books', token = 'a word'"),
    ],
)
def test_secrets_are_masked_in_text_and_nothing_else_is(text: str, without: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOME_API_KEY", "hunter2hunter2")
    assert mask(text) == without
    assert mask(without) == without


def test_the_secrets_of_a_command_line_move_into_the_environment(monkeypatch: pytest.MonkeyPatch):
    for variable in ("A_URL_PASSWORD", "B_API_KEY"):
        monkeypatch.setenv(variable, "")  # to be removed after the test
    monkeypatch.setenv("DB_PASSWORD", "swordfish")
    words = [
        "-m",
        "seed=1",
        "a.url='x://u:hunter2@h'",
        "+b.api_key=k-1",
        "c.pad_token=x",
        "d.token=null",
        "e=x://u:swordfish@h",
    ]
    found = conceal_words(words)
    assert found == [
        "-m",
        "seed=1",
        "a.url='x://u:${oc.env:A_URL_PASSWORD}@h'",
        "+b.api_key=${oc.env:B_API_KEY}",
        "c.pad_token=x",
        "d.token=null",
        "e=x://u:${oc.env:DB_PASSWORD}@h",  # which held it before
    ]
    assert conceal_words(found) == found
    assert reveal({"key": [found[3].partition("=")[2]]}, "b") == {"key": ["k-1"]}
    monkeypatch.delenv("B_API_KEY")
    with pytest.raises(ConfigError, match=r"set the environment variable B_API_KEY, or give b\.api_key= again"):
        reveal("${oc.env:B_API_KEY}", "b.api_key")


def test_the_password_of_a_searchs_storage_is_in_no_file(
    command: Command, outputs: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HYDRA_SWEEPER_STORAGE_PASSWORD", "")  # to be removed after the test
    secret = FOUR[1]
    address = f"sqlite:///file:{outputs.parent / 'study.db'}?uri=true&password={secret}"
    line = parse(conceal_words(["-m", "hydra/sweeper=optuna", f'hydra.sweeper.storage="{address}"', "seed=1,2"]))
    folder = outputs / "sweeps" / "s20260101-000000-0000"
    folder.mkdir(parents=True)
    search = make_plan(line).search
    sweep = Sweep.start(folder, line.flags, line.overrides, jobs=None, trials=2, mode="max", search=search, git=None)
    assert Sweep.load(folder).storage == sweep.storage == address
    open_study(Sweep.load(folder))
    assert (outputs.parent / "study.db").exists()
    monkeypatch.delenv("HYDRA_SWEEPER_STORAGE_PASSWORD")
    shown = command("train", "-m", "resume=latest")
    assert shown.status == 2
    assert "kept in no file: set the environment variable HYDRA_SWEEPER_STORAGE_PASSWORD, or give" in shown.stderr
    other = command("train", "-m", "resume=latest", f'hydra.sweeper.storage="postgresql://u:{secret}@h/x"')
    assert "a sweep goes on as it began" in other.stderr
    assert secret not in secrets_in(shown.stderr, other.stderr, below=outputs)
    old = {
        **sweep.values,
        "search": {**(search or {}), "storage": address},
        "overrides": [f"hydra.sweeper.storage={address}"],
    }
    (folder / "sweep.json").write_text(json.dumps(old))  # as earlier versions did
    assert Sweep.load(folder).storage == address
    Sweep.load(folder).save()
    assert secret not in secrets_in(below=outputs)


@pytest.mark.slow
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
