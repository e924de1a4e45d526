"""Inject faults into real runs, and check that they resume as if nothing had happened.

Every run is a process forked from this one, which has imported torch and computes nothing, so that a fault can strike
anywhere in a run of a second. Moments are drawn evenly over the measured length of a whole run, from a seed that is printed.

    # Everything, about half an hour on two cores, as make soak does
    python -m tests.helpers.soak
    # A few of each fault
    python -m tests.helpers.soak --short
    # Only the faults of the disk, at the moments of an earlier call
    python -m tests.helpers.soak --seed 7 --only disk
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import contextlib
import platform
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import psutil

import src.train
import src.training.fit  # before anything is forked
from src.errors import Interrupted
from src.fast.classification import ChunkedClassifier
from src.launching.stop import raise_on_stop
from src.loggers.tensorboard import TensorBoard
from src.parsers import make_parser
from src.paths import ROOT
from src.records.environment import _cpu
from src.records.record import Record
from src.training.checkpoints import DurableCheckpointIO, load, newest
from tests.helpers.outcome import differences, outcome
from tests.helpers.preflight import KEYS, Preflight, misspelt, nested, refusal

# A run of about a second: 63 steps an epoch, dropout, augmentation, a schedule of its own for every step.
RUN = [
    "data.train_size=4000",
    "data.val_size=500",
    "data.augment.shift=1",
    "model.hidden=[16]",
    "model.dropout=0.2",
    "schedule=cosine",
    "logger=both",
    "trainer.max_epochs=4",
]
# An ordinary LightningModule on ordinary DataLoaders: dropout, accumulated metrics, a plateau schedule, in Lightning's own loop.
OWN = ["experiment=example_text", "data.size=1000", "logger=both", "trainer.max_epochs=4"]
ENDLESS = [*RUN[:-2], "logger=both", "trainer.max_epochs=100000"]
TOO_LONG_S = 120


@dataclass
class Child:
    """A command running in a process of its own session.

    Attributes:
        pid: the process.
        said: where its output goes.
    """

    pid: int
    said: Path
    ended: int | None = None

    def wait(self, seconds: float = TOO_LONG_S) -> int:
        """Its exit status, negative for a signal."""
        until = time.monotonic() + seconds
        while self.ended is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.ended = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > until:
                self.kill_all()
                raise TimeoutError(f"not ended after {seconds} s: {self.text()[-300:]}")
            else:
                time.sleep(0.005)
        return self.ended

    def family(self) -> list[psutil.Process]:
        """Every process of its session."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(ProcessLookupError, psutil.Error):
                if os.getsid(process.pid) == self.pid and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def kill_all(self) -> None:
        for process in self.family():
            with contextlib.suppress(psutil.Error):
                process.kill()

    def gone_within(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while self.family():
            if time.monotonic() > until:
                self.kill_all()
                return False
            time.sleep(0.05)
        return True

    def text(self) -> str:
        return self.said.read_text(errors="replace")


@dataclass
class Tally:
    """What came of one kind of fault.

    Attributes:
        times: how often it was tried.
        struck: in which phase of the run it struck, how often.
        lost: what was lost, a sentence each.
    """

    fault: str
    times: int = 0
    struck: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)

    def note(self, phase: str, *lost: str) -> None:
        self.times += 1
        self.struck[phase] += 1
        self.lost += [f"{self.fault}, {phase}: {what}" for what in lost]


class Soak:
    """The workshop: a folder, a source of chance, and runs to compare with."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.chance, self.number = folder, random.Random(seed), 0

    def start(self, *words: str, before: Callable[[], None] = lambda: None, outputs: Path | None = None) -> Child:
        """Run src.train on these words; ``before`` is called in the new process, where it may lay its trap."""
        self.number += 1
        said = self.folder / f"said-{self.number}.txt"
        sys.stdout.flush()
        pid = os.fork()
        if pid:
            return Child(pid, said)
        status = 70
        try:
            raise_on_stop()
            os.setsid()
            output = os.open(said, os.O_CREAT | os.O_WRONLY)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.environ["OUTPUTS_DIR"] = str(outputs or self.folder)
            before()
            status = src.train.main(list(words))
        except Interrupted as stop:
            status = stop.exit_status
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 70
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def name(self) -> str:
        return f"soak-{self.number}"

    def find(self, name: str, outputs: Path | None = None) -> Path | None:
        """The directory of the run that bears a name, once it has a record."""
        for path in (outputs or self.folder).glob("runs/*/run.json"):
            if Record.load(path.parent).values["name"] == name:
                return path.parent
        return None

    def whole(self, *words: str, times: int = 3) -> tuple[float, dict[str, Any]]:
        """How long the run takes, in seconds, and what comes out when nothing happens to it."""
        seconds, outcomes = [], []
        for _ in range(times):
            name, began = self.name(), time.monotonic()
            child = self.start(*words, f"name={name}")
            assert child.wait() == 0, child.text()
            seconds.append(time.monotonic() - began)
            directory = self.find(name)
            assert directory is not None
            outcomes.append(outcome(directory))
        assert not differences(outcomes[0], outcomes[-1]), "the same command twice gave two results"
        return median(seconds), outcomes[0]


def phase(directory: Path | None) -> str:
    """How far a run had come, from what it left behind."""
    if directory is None:
        return "before its record"
    if Record.load(directory).values["status"] != "running":
        return "after its end"
    if list(directory.glob("checkpoints/.*.part")):
        return "writing a checkpoint"
    if list(directory.glob("*.test")):
        return "test"
    checkpoint = newest(directory / "checkpoints")
    return f"epoch {load(checkpoint, 'meta')['epoch'] + 2}" if checkpoint else "epoch 1"


def resumed(soak: Soak, directory: Path, reference: dict[str, Any]) -> list[str]:
    """Resume a run and say what differs from the one that was never cut off."""
    child = soak.start(f"resume={directory}")
    status = child.wait()
    if status:
        return [f"resume ended with {status}: {child.text()[-300:]}"]
    return [f"differs in {what}" for what in differences(outcome(directory), reference)]


def kill(soak: Soak, tally: Tally, times: int, devices: int, run: list[str] = RUN) -> None:
    """kill -9 at any moment of a run, then resume."""
    words = [*run, f"trainer.devices={devices}"]
    length, reference = soak.whole(*words)
    for _ in range(times):
        name = soak.name()
        child = soak.start(*words, f"name={name}")
        time.sleep(soak.chance.uniform(0, length))
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        directory = soak.find(name)
        struck = phase(directory)
        lost = [] if child.gone_within(30) else ["processes were left"]
        tally.note(struck, *lost, *(resumed(soak, directory, reference) if directory else []))


def kill_in_checkpoint(soak: Soak, tally: Tally, times: int) -> None:
    """kill -9 while checkpoints are written one after the other."""
    folder = soak.folder / "written"
    checkpoint = {"epoch": 0, "weights": src.training.fit.torch.arange(250_000)}

    def write() -> None:
        writer = DurableCheckpointIO()
        for epoch in range(10**9):
            writer.save_checkpoint({**checkpoint, "epoch": epoch}, folder / "last.ckpt")

    for _ in range(times):
        shutil.rmtree(folder, ignore_errors=True)
        child = soak.start(before=write)
        while not (folder / "previous.ckpt").exists():
            time.sleep(0.001)
        time.sleep(soak.chance.uniform(0, 0.1))
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        struck = "a file half-written" if list(folder.glob(".*.part")) else "between two files"
        try:
            lost = [] if load(newest(folder) or folder)["weights"].sum() == checkpoint["weights"].sum() else ["damaged"]
        except Exception as error:
            lost = [str(error)]
        tally.note(struck, *lost)


def terminate(soak: Soak, tally: Tally, times: int) -> None:
    """SIGTERM at any moment of a run on two processes."""
    length, _ = soak.whole(*RUN, "trainer.devices=2")
    for _ in range(times):
        name = soak.name()
        child = soak.start(*ENDLESS, "trainer.devices=2", f"name={name}")
        time.sleep(soak.chance.uniform(0, length))
        os.kill(child.pid, signal.SIGTERM)
        status, lost = child.wait(), []
        if status != 143:
            lost.append(f"status {status}: {child.text()[-300:]}")
        if not child.gone_within(5):
            lost.append("processes were left")
        directory = soak.find(name)
        struck = "before its record"
        if directory is not None:
            record = Record.load(directory).values
            if record["status"] != "interrupted":
                lost.append(f"recorded as {record['status']}")
            checkpoint = newest(directory / "checkpoints")
            struck = (
                f"epoch {min(load(checkpoint)['epoch'] + 1, 5)} or later" if checkpoint else "before the first step"
            )
            if checkpoint is None and list(directory.glob("metrics.csv")):
                lost.append("points were logged and no checkpoint saved")
        tally.note(struck, *lost)


def hang_up(soak: Soak, tally: Tally, times: int, devices: int) -> None:
    """SIGHUP to a command and its ranks, as a closed terminal sends it, at any moment of a run; then resume."""
    words = [*RUN, f"trainer.devices={devices}"]
    length, reference = soak.whole(*words)
    for _ in range(times):
        name = soak.name()
        child = soak.start(*words, f"name={name}")
        time.sleep(soak.chance.uniform(0, length))
        lost = _hung_up(child)
        directory = soak.find(name)
        tally.note(phase(directory), *lost, *(resumed(soak, directory, reference) if directory else []))


# What strikes a sweep, and the statuses with which it may then end.
SWEEP_FAULTS = {"SIGHUP": (0, 129), "SIGTERM": (0, 143), "kill -9": (0, -9), "kill -9 of a job": (0, 1)}


def strike_sweep(soak: Soak, tally: Tally, times: int, fault: str, run: list[str] = RUN) -> None:
    """Signal or kill a sweep of three jobs, two at once, at any moment, or one of its jobs; resumed, all equal single runs."""
    length, first = soak.whole(*run)
    references = [first, *(soak.whole(*run, f"seed={seed}", times=1)[1] for seed in (1, 2))]
    for _ in range(times):
        sweeps = soak.folder / "sweeps"
        shutil.rmtree(sweeps, ignore_errors=True)
        child = soak.start("-m", *run, "seed=0,1,2", "hydra.launcher.n_jobs=2")
        time.sleep(soak.chance.uniform(0, 3 * length))
        lost = _struck(child, fault, soak.chance)
        struck, jobs = "before its record", [path.parent for path in sorted(sweeps.glob("*/*/run.json"))]
        for sweep in (path.parent for path in sweeps.glob("*/sweep.json")):
            struck = f"job {len(jobs)}, {phase(jobs[-1] if jobs else None)}"
            resumption = soak.start("-m", f"resume={sweep}")
            if status := resumption.wait():
                lost.append(f"resume ended with {status}: {resumption.text()[-300:]}")
            else:
                for number, reference in enumerate(references):
                    found = differences(outcome(sweep / f"{number:03d}"), reference)
                    lost += [f"job {number} differs in {what}" for what in found]
        tally.note(struck, *lost)


def _struck(child: Child, fault: str, chance: random.Random) -> list[str]:
    """Strike a sweep, wait for its end, and say what is wrong with it."""
    with contextlib.suppress(ProcessLookupError, psutil.Error):
        if fault == "SIGHUP":
            os.killpg(child.pid, signal.SIGHUP)
        elif fault == "kill -9 of a job":
            if jobs := psutil.Process(child.pid).children():
                chance.choice(jobs).kill()
        else:
            os.kill(child.pid, signal.SIGTERM if fault == "SIGTERM" else signal.SIGKILL)
    status, lost = child.wait(), []
    if status not in SWEEP_FAULTS[fault]:
        lost.append(f"status {status}: {child.text()[-300:]}")
    if not child.gone_within(5):
        lost.append("processes were left")
    return lost


def _hung_up(child: Child) -> list[str]:
    """Send SIGHUP to all processes of a command, wait for its end, and say what is wrong with it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGHUP)
    status, lost = child.wait(), []
    if status not in (0, 129):
        lost.append(f"status {status}: {child.text()[-300:]}")
    if not child.gone_within(5):
        lost.append("processes were left")
    return lost


def ignore_hang_up(soak: Soak, tally: Tally, times: int) -> None:
    """SIGHUP at any moment of a run on two processes under nohup: it goes unnoticed."""
    length, reference = soak.whole(*RUN, "trainer.devices=2")
    environment = {**os.environ, "OUTPUTS_DIR": str(soak.folder / "nohup")}
    for _ in range(times):
        shutil.rmtree(soak.folder / "nohup", ignore_errors=True)
        command = ["nohup", sys.executable, "-m", "src.train", *RUN, "trainer.devices=2"]
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not (records := list(soak.folder.glob("nohup/runs/*/run.json"))):
            time.sleep(0.01)
        time.sleep(soak.chance.uniform(0, length))
        struck = phase(records[0].parent)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGHUP)
        lost = [] if (status := process.wait(TOO_LONG_S)) == 0 else [f"status {status}"]
        tally.note(
            struck, *lost, *(f"differs in {what}" for what in differences(outcome(records[0].parent), reference))
        )


def kill_in_container(soak: Soak, tally: Tally, times: int) -> None:
    """kill -9 in a pid namespace of its own, with this host's name and with another; seen from outside, then resumed."""
    length, reference = soak.whole(*RUN)
    folder = soak.folder / "container"
    environment = {**os.environ, "OUTPUTS_DIR": str(folder)}
    for number in range(times):
        shutil.rmtree(folder, ignore_errors=True)
        name = "hostname container; " if number % 2 else ""
        script = f"{name}exec {shlex.join([sys.executable, '-m', 'src.train', *RUN])}"
        command = ["unshare", "--pid", "--uts", "--fork", "--mount-proc", "--kill-child", "sh", "-c", script]
        container = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while not (records := list(folder.glob("runs/*/run.json"))):
            time.sleep(0.01)
        directory, lost, until = records[0].parent, [], time.monotonic() + soak.chance.uniform(0, length)
        while time.monotonic() < until:
            if (status := Record.load(directory).status) not in ("running", "done"):
                lost.append(f"{status} while it trained")
            time.sleep(0.01)
        struck = phase(directory)
        container.kill()
        container.wait()
        while Record.load(directory).status == "running" and time.monotonic() < until + 30:
            time.sleep(0.1)
        if (status := Record.load(directory).status) not in ("interrupted", "done"):
            lost.append(f"{status} after the kill")
        tally.note(f"{'another' if name else 'this'} host name, {struck}", *lost, *resumed(soak, directory, reference))


def close_output(soak: Soak, tally: Tally, times: int) -> None:
    """The reader of standard output and standard error disappears after any of the lines."""
    _, reference = soak.whole(*RUN)
    for _ in range(times):
        reader, writer = os.pipe()

        def redirect(writer: int = writer) -> None:
            os.dup2(writer, 1)
            os.dup2(writer, 2)
            sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))  # noqa: SIM115

        name, lines = soak.name(), soak.chance.randrange(12)
        child = soak.start(*RUN, f"name={name}", before=redirect)
        os.close(writer)
        with os.fdopen(reader) as output:
            for _ in range(lines):
                output.readline()
        lost = [] if (status := child.wait()) == 0 else [f"status {status}"]
        directory = soak.find(name)
        if directory is None:
            lost.append("no record")
        else:
            lost += [f"differs in {what}" for what in differences(outcome(directory), reference)]
            if (logged := (directory / "train.log").read_text().count("  train loss ")) != 4:
                lost.append(f"{logged} of 4 epochs are in the log")
        tally.note(f"after line {lines}", *lost)


def raise_in_rank(soak: Soak, tally: Tally, times: int) -> None:
    """One of two ranks raises."""
    train = ChunkedClassifier.training_step

    def trap(rank: int, chunk: int) -> None:
        def training_step(self: ChunkedClassifier, *args: Any) -> Any:
            nonlocal chunk
            chunk -= 1
            if os.environ["RANK"] == str(rank) and chunk < 0:
                raise RuntimeError("the trap")
            return train(self, *args)

        ChunkedClassifier.training_step = training_step  # type: ignore[method-assign]

    for _ in range(times):
        name, rank = soak.name(), soak.chance.randrange(2)
        before = partial(trap, rank, soak.chance.randrange(32))
        child = soak.start(*ENDLESS, "trainer.devices=2", f"name={name}", before=before)
        _expect_failure(soak, tally, child, name, f"rank {rank}", "the trap")


def kill_rank(soak: Soak, tally: Tally, times: int) -> None:
    """One of two ranks is killed with -9."""
    for _ in range(times):
        name = soak.name()
        child = soak.start(*ENDLESS, "trainer.devices=2", f"name={name}")
        while (directory := soak.find(name)) is None or not (directory / "metrics.csv").exists():
            time.sleep(0.01)
        time.sleep(soak.chance.uniform(0, 0.5))
        rank = soak.chance.choice(psutil.Process(child.pid).children())
        rank.kill()
        _expect_failure(soak, tally, child, name, "training", "SIGKILL")


def _expect_failure(soak: Soak, tally: Tally, child: Child, name: str, where: str, message: str) -> None:
    lost = []
    if (status := child.wait()) != 1:
        lost.append(f"status {status}")
    if not child.gone_within(5):
        lost.append("the other rank was left")
    directory = soak.find(name)
    record = Record.load(directory).values if directory else {"status": "none", "error": None}
    if record["status"] != "failed" or message not in str(record["error"]):
        lost.append(f"recorded as {record['status']} with {record['error']}")
    if "Traceback" in child.text():
        lost.append("a traceback on the terminal")
    tally.note(where, *lost)


def start_together(soak: Soak, tally: Tally, times: int) -> None:
    """Twenty starts in the same second."""
    words = ["data.train_size=64", "data.val_size=0", "callbacks=none", "logger=none", "trainer.max_epochs=1"]
    for round_ in range(times):
        outputs = soak.folder / f"together-{round_}"
        children = [soak.start(*words, f"seed={seed}", f"name=n{seed}", outputs=outputs) for seed in range(20)]
        statuses = [child.wait() for child in children]
        records = [Record.load(path.parent).values for path in outputs.glob("runs/*/run.json")]
        seeds = sorted((r["seed"], r["name"], r["status"]) for r in records)
        right = seeds == [(seed, f"n{seed}", "done") for seed in range(20)]
        right &= len(list((outputs / "runs").iterdir())) == 20
        tally.note("start", *([] if right and not any(statuses) else [f"{statuses}, {seeds}"]))


def unpack_together(soak: Soak, tally: Tally, times: int) -> None:
    """Eight starts on a data folder that is not unpacked, one of them killed meanwhile."""
    words = ["data.train_size=640", "data.val_size=0", "callbacks=none", "logger=none", "trainer.max_epochs=1"]
    results = set()
    for round_ in range(times):
        data, outputs = soak.folder / f"data-{round_}", soak.folder / f"unpacking-{round_}"
        (data / "MNIST" / "raw").mkdir(parents=True)
        for archive in (ROOT / "data" / "MNIST" / "raw").glob("*.gz"):
            (data / "MNIST" / "raw" / archive.name).symlink_to(archive)
        children = [soak.start(*words, f"data.dir={data}", outputs=outputs) for _ in range(8)]
        victim = soak.chance.choice(children)
        while not (parts := list(data.glob(f"MNIST/raw/.*.{victim.pid}.part"))) and not _exists(data, "t10k-labels"):
            time.sleep(0.001)
        time.sleep(soak.chance.uniform(0, 0.3))
        os.kill(victim.pid, signal.SIGKILL)
        struck = "while it unpacked" if any(part.exists() for part in parts) else "between two files"
        statuses = [child.wait() for child in children if child is not victim]
        results |= {
            str(run.values["metrics"])
            for run in map(Record.load, (path.parent for path in outputs.glob("runs/*/run.json")))
            if run.values["status"] == "done"
        }
        victim.wait()
        lost = [] if not any(statuses) and len(results) == 1 else [f"statuses {statuses}, {len(results)} results"]
        tally.note(struck, *lost)
        shutil.rmtree(data)


def _exists(data: Path, name: str) -> bool:
    return any(path.suffix == "" for path in data.glob(f"MNIST/raw/{name}*"))


def fill(folder: Path) -> None:
    """Write until the file system is full."""
    with contextlib.suppress(OSError), (folder / "filler").open("ab", buffering=0) as filler:
        while True:
            filler.write(b"\0" * 512)


def fill_disk(soak: Soak, tally: Tally, times: int, what: str) -> None:
    """The disk is full when a checkpoint, an event file or the record is written."""
    owner, method, writes = {
        "checkpoint": (DurableCheckpointIO, "save_checkpoint", 5),
        "event file": (TensorBoard, "save", 5),
        "record": (Record, "change", 4),
    }[what]
    original = getattr(owner, method)
    _, reference = soak.whole(*RUN, times=1)
    for _ in range(times):
        with small_disk(soak.folder / "disk") as disk:

            def trap(disk: Path = disk, left: int = soak.chance.randrange(writes)) -> None:
                def write(self: Any, *args: Any, **kwargs: Any) -> Any:
                    nonlocal left
                    left -= 1
                    if left == -1:
                        fill(disk)
                        if what == "event file":  # a few bytes might still fit into its last block
                            self.experiment.add_text("more", "x" * 10_000)
                    return original(self, *args, **kwargs)

                setattr(owner, method, write)

            name = soak.name()
            child = soak.start(*RUN, f"name={name}", before=trap, outputs=disk)
            lost = [] if (status := child.wait()) == 1 else [f"status {status}"]
            if "cannot be written" not in child.text() and "disk is full" not in child.text():
                lost.append(f"no clear message: {child.text()[-300:]}")
            if "Traceback" in child.text():
                lost.append("a traceback on the terminal")
            (disk / "filler").unlink()
            directory = soak.find(name, disk)
            struck = "before its record" if directory is None else "later"
            if directory is not None:
                checkpoint = newest(directory / "checkpoints")
                struck = f"epoch {load(checkpoint)['epoch'] + 1} saved" if checkpoint else "nothing saved yet"
                lost += resumed(soak, directory, reference)
            tally.note(struck, *lost)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of six megabytes in memory; only root may make one."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def misspell(soak: Soak, tally: Tally, times: int) -> None:
    """Every key of the composed configuration misspelt, in YAML and on the command line."""
    chosen = KEYS[:: max(1, len(KEYS) // times)] if times else KEYS
    with Preflight(soak.folder / "misspelt") as project:
        for key in chosen:
            for where, message in (
                ("command line", refusal(f"{misspelt(key)}=1")),
                ("YAML", project.refusal_of_experiment(nested(misspelt(key)))),
            ):
                tally.note(where, *([] if message and misspelt(key) in message else [f"{key}: {message!r}"]))


# Name, what is done, how often, and how often in the short form; 0 is all of them.
FAULTS: list[tuple[str, str, Callable[..., None], int, int]] = [
    ("kill-1", "kill -9, 1 process, then resume: everything equal", partial(kill, devices=1), 30, 3),
    ("kill-2", "kill -9, 2 processes, then resume: everything equal", partial(kill, devices=2), 30, 2),
    (
        "own-1",
        "ordinary module and loaders: kill -9, 1 process, resume: everything equal",
        partial(kill, devices=1, run=OWN),
        30,
        2,
    ),
    (
        "own-2",
        "ordinary module and loaders: kill -9, 2 processes, resume: everything equal",
        partial(kill, devices=2, run=OWN),
        30,
        1,
    ),
    (
        "own-sweep",
        "ordinary module and loaders: SIGHUP, a sweep of 3 jobs, 2 at once, resume: everything equal",
        partial(strike_sweep, fault="SIGHUP", run=OWN),
        30,
        1,
    ),
    ("checkpoint", "kill -9 while a checkpoint is written: one is left that loads", kill_in_checkpoint, 50, 3),
    ("terminate", "SIGTERM, 2 processes: all gone, checkpoint loads, status 143", terminate, 30, 2),
    ("hang-up-1", "SIGHUP, 1 process, then resume: everything equal", partial(hang_up, devices=1), 30, 1),
    ("hang-up-2", "SIGHUP, 2 processes, then resume: everything equal", partial(hang_up, devices=2), 30, 1),
    *[
        (
            f"sweep-{name}",
            f"{fault}, a sweep of 3 jobs, 2 at once, then resume: everything equal",
            partial(strike_sweep, fault=fault),
            30,
            1,
        )
        for name, fault in zip(("hang-up", "terminate", "kill", "kill-job"), SWEEP_FAULTS, strict=True)
    ],
    ("nohup", "SIGHUP under nohup, 2 processes: everything equal", ignore_hang_up, 10, 1),
    ("container", "kill -9 in a container, then resume: status right, everything equal", kill_in_container, 10, 1),
    ("output", "the reader of the output disappears: everything equal, every epoch in the log", close_output, 30, 2),
    ("raise", "one of 2 ranks raises: the other gone, its error in run.json", raise_in_rank, 10, 1),
    ("kill-rank", "one of 2 ranks killed: the other gone, its end in run.json", kill_rank, 10, 1),
    ("together", "20 starts in the same second: 20 directories, none mixed", start_together, 5, 1),
    ("unpack", "8 starts on archives not unpacked, one killed meanwhile", unpack_together, 10, 1),
    (
        "disk-checkpoint",
        "disk full at a checkpoint, then resume: everything equal",
        partial(fill_disk, what="checkpoint"),
        10,
        1,
    ),
    (
        "disk-events",
        "disk full at an event file, then resume: everything equal",
        partial(fill_disk, what="event file"),
        10,
        1,
    ),
    ("disk-record", "disk full at the record, then resume: everything equal", partial(fill_disk, what="record"), 10, 1),
    ("misspell", "every key misspelt, in YAML and on the command line: refused by name", misspell, 0, 5),
]

_HEAD = """# Fault injection

`make soak` injects faults into real runs of about a second, at times drawn uniformly over the measured duration of a complete
run, and checks the result. "Everything equal" compares the last checkpoint (weights, optimizer, schedule), every scalar in
TensorBoard and the CSV file, and the record's metrics with those of an undisturbed run, bit for bit. This file is its latest
output.

"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = make_parser("tests.helpers.soak", __doc__)
    parser.add_argument("--short", action="store_true", help="Inject each fault a few times only.")
    text = "Draw the moments from this seed (default: the current time)."
    parser.add_argument("--seed", type=int, default=int(time.time()), metavar="N", help=text)
    text = "Inject only the faults whose names begin with this prefix (default: all)."
    parser.add_argument("--only", metavar="PREFIX", help=text)
    text = "Also write the table to this file, in Markdown."
    parser.add_argument("--table", type=Path, metavar="FILE", help=text)
    return parser


def main() -> int:
    args = build_parser().parse_args()
    print(f"seed {args.seed}", flush=True)
    began, tallies = time.monotonic(), []
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        soak = Soak(Path(folder), args.seed)
        for name, fault, inflict, times, short in FAULTS:
            if name.startswith(args.only or ""):
                tally, started = Tally(fault), time.monotonic()
                tallies.append(tally)
                inflict(soak, tally, short if args.short else times)
                print(
                    f"{name}: {tally.times} times, {len(tally.lost)} lost, {time.monotonic() - started:.0f} s",
                    flush=True,
                )
                print("".join(f"  {what}\n" for what in tally.lost), end="", flush=True)
    table = [
        f"{date.today():%d %B %Y}, {os.cpu_count()} cores of {_cpu()}, {platform.system()}, seed {args.seed}, "
        f"{(time.monotonic() - began) / 60:.0f} minutes",
        "",
        "| fault | times | something lost | where it struck |",
        "| --- | --- | --- | --- |",
    ]
    for tally in tallies:
        struck = ", ".join(f"{where} {times}" for where, times in sorted(tally.struck.items()))
        table.append(f"| {tally.fault} | {tally.times} | {len(tally.lost)} | {struck} |")
    print("\n" + "\n".join(table))
    if args.table:
        args.table.write_text(_HEAD + "\n".join(table) + "\n")
    return int(any(tally.lost for tally in tallies))


if __name__ == "__main__":
    sys.exit(main())
