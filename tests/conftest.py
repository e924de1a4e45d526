"""Real processes, real files, real MNIST. Every test keeps its runs in a folder of its own."""

import contextlib
import importlib
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# Before torch is imported: beside another busy process two OpenMP threads can be fifty times slower than one.
os.environ["OMP_NUM_THREADS"] = "1"
# Nobody is notified of the runs of tests, whatever is configured on this machine.
os.environ["TRACKING_NOTIFICATIONS"] = "off"

from src.config.command_line import parse
from src.config.compose import preflight
from src.data.mnist import MNIST
from src.launching.stop import STOP
from src.loggers.tensorboard import close_session
from src.paths import ROOT
from src.records.environment import environment
from src.records.lock import owned
from src.records.record import Record
from tests.helpers.fitting import fit_in

# Commands started here stop by signals, even where this process was started as a background job that ignores them.
for signum in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(signum) == signal.SIG_IGN:
        signal.signal(signum, signal.default_int_handler)

# Examples that happen to import or unpack something are no slower for it.
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.load_profile("here")

# What a run on one thread records about where it was made.
ENVIRONMENT = {
    **environment(),
    "accelerator": "cpu",
    "devices": 1,
    "num_nodes": 1,
    "threads": 1,
    "mkl_cbwr": "off",
}

# A training of a second: 512 of MNIST's images, two epochs, a small network.
SMALL = ["data.train_size=512", "data.val_size=500", "trainer.max_epochs=2", "model.hidden=[16]"]


@dataclass
class Finished:
    """A command that has ended, and what it left behind."""

    status: int
    stdout: str
    stderr: str
    outputs: Path

    @property
    def runs(self) -> list[dict[str, Any]]:
        """The records of all runs, single ones and jobs, in the order in which they were started."""
        return [json.loads((directory / "run.json").read_text()) for directory in self.directories]

    @property
    def directories(self) -> list[Path]:
        """Their directories, in the same order."""
        # An id tells only the second in which a run began, which may be that of another.
        single = sorted(self.outputs.glob("runs/*/run.json"), key=lambda path: json.loads(path.read_text())["started"])
        return [path.parent for path in [*single, *sorted(self.outputs.glob("sweeps/*/*/run.json"))]]


Command = Callable[..., Finished]
MakeRun = Callable[..., Record]
Fit = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session", autouse=True)
def unpacked_mnist() -> None:
    """MNIST is unpacked, also on a fresh machine where the first test reads it without a training."""
    MNIST().prepare_data()


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    return tmp_path / "outputs"


@pytest.fixture
def command(outputs: Path) -> Command:
    """Run ``python -m src.<module> <words>`` from the project's root and wait for it."""

    def run(module: str, *words: str, cwd: Path = ROOT, prefix: Sequence[str] = (), **env: str) -> Finished:
        done = subprocess.run(
            [*prefix, sys.executable, "-m", f"src.{module}", *words],
            cwd=cwd,
            env={**os.environ, "OUTPUTS_DIR": str(outputs), "PYTHONPATH": str(cwd), "COLUMNS": "200", **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
        )
        return Finished(done.returncode, done.stdout, done.stderr, outputs)

    return run


# Runs the command lines of standard input; a line of NUL and the status ends the output of each.
_SEVERAL = """
import json, sys
from src.train import main

lines, sys.argv = json.load(sys.stdin), ["src.train"]
for words in lines:
    status = main(words)
    for stream in (sys.stdout, sys.stderr):
        print(f"\\0{status}", file=stream, flush=True)
"""


@pytest.fixture
def train_several(outputs: Path) -> Callable[..., list[Finished]]:
    """Run ``python -m src.train`` for several command lines, one after another in one process, which imports only once."""

    def run(*lines: Sequence[str], cwd: Path) -> list[Finished]:
        done = subprocess.run(
            [sys.executable, "-c", _SEVERAL],
            cwd=cwd,
            env={**os.environ, "OUTPUTS_DIR": str(outputs), "PYTHONPATH": str(cwd), "COLUMNS": "200"},
            input=json.dumps(lines),
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
        said, errors = (re.split(r"\0(\d+)\n", text) for text in (done.stdout, done.stderr))
        return [
            Finished(int(status), *texts, outputs)
            for *texts, status in zip(said[:-1:2], errors[:-1:2], said[1::2], strict=True)
        ]

    return run


@pytest.fixture
def as_reader(command: Command, outputs: Path) -> Iterator[Command]:
    """Like ``command``, but over a copy of ``outputs`` that its user may read and not write."""
    # Permissions do not bind root. Others may not enter tmp_path.
    switch = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups") if os.getuid() == 0 else ()
    if switch and not shutil.which("setpriv"):
        pytest.skip("root is bound by no permissions, and there is no setpriv")
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as home:
        copy = Path(folder, "outputs")

        def run(module: str, *words: str, **env: str) -> Finished:
            if not copy.exists():
                shutil.copytree(outputs, copy)
                subprocess.run(["chmod", "-R", "a+rX,a-w", folder], check=True)
                Path(home).chmod(0o777)
            return command(module, *words, prefix=switch, HOME=home, OUTPUTS_DIR=str(copy), **env)

        yield run
        subprocess.run(["chmod", "-R", "u+w", folder], check=True)


@pytest.fixture
def train(command: Command) -> Command:
    """Run ``python -m src.train`` on a small training, changed by the words given."""
    return lambda *words, **options: command("train", *SMALL, *words, **options)


@pytest.fixture
def here(outputs: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """Like ``command``, but in this process, which spares it the imports: not for several devices or workers."""
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(sys, stream, getattr(sys, stream))
    handlers, signals = logging.root.handlers[:], {n: signal.getsignal(n) for n in STOP}

    def run(module: str, *words: str, **env: str) -> Finished:
        capfd.readouterr()
        name = f"src.{module}"
        entry = importlib.import_module(f"{name}.__main__" if module in ("runs", "dashboard") else name)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", [name])
            for key, value in {"OUTPUTS_DIR": str(outputs), "COLUMNS": "200", **env}.items():
                patch.setenv(key, value)
            try:
                status = entry.main(list(words))
            except SystemExit as exit:  # argparse
                status = int(exit.code or 0)
        said = capfd.readouterr()
        return Finished(status, said.out, said.err, outputs)

    yield run
    for handler in set(logging.root.handlers) - set(handlers):
        handler.close()
    logging.root.handlers[:] = handlers
    for signum, handler in signals.items():
        signal.signal(signum, handler)


@pytest.fixture
def train_here(here: Command, outputs: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Like ``train``, but in this process: for single runs on one device."""
    monkeypatch.setenv("OUTPUTS_DIR", str(outputs))  # for what the test looks up itself
    return lambda *words, small=True: here("train", *(SMALL if small else []), *words)


@pytest.fixture
def fit_here(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Train in this process, going on where ``into`` holds a checkpoint; returns what ``fit`` returns and ``directory``."""
    count = iter(range(100))

    def run(*words: str, extra: Any = (), small: bool = True, into: Path | None = None) -> dict[str, Any]:
        return fit_in(into or tmp_path / f"run-{next(count)}", [*(SMALL if small else []), *words], extra)

    return run


@pytest.fixture(scope="session")
def compose() -> Callable[..., dict[str, Any]]:
    """Compose a configuration from overrides; each only once."""
    known: dict[tuple[str, ...], dict[str, Any]] = {}

    def run(*words: str) -> dict[str, Any]:
        if words not in known:
            [known[words]] = preflight(parse(list(words)))
        return known[words]

    return run


@pytest.fixture
def make_run(outputs: Path, compose: Callable[..., dict[str, Any]]) -> Iterator[MakeRun]:
    """Write a record: ``make_run("seed=1", accuracy=0.9, status="failed", started="2026-01-01T00:00:00+00:00")``.

    With ``status="running"`` this process holds the run's lock until the test ends, unless ``killed=True``.
    """
    count, running = iter(range(100_000)), contextlib.ExitStack()

    def run(
        *words: str,
        accuracy: float | None = 0.9,
        sweep: str | None = None,
        events: bool = False,
        killed: bool = False,
        **values: Any,
    ) -> Record:
        number = next(count)
        minutes, seconds = divmod(number, 60)
        folder = (
            outputs / "sweeps" / sweep / f"{number:03d}"
            if sweep
            else outputs / "runs" / f"r20260101-00{minutes:02d}{seconds:02d}-{number:04x}"
        )
        folder.mkdir(parents=True)
        record = Record.start(
            folder,
            sweep=sweep,
            config=compose(*words),
            overrides=list(words),
            command=f"python -m src.train {' '.join(words)}",
            git=None,
            environment=ENVIRONMENT,
            choices={"optimizer": "adam"} | dict(word.split("=") for word in words if word.startswith("optimizer=")),
        )
        metrics = (
            {} if accuracy is None else {"val/acc": accuracy, "val/loss": 1 - accuracy, "test/acc": accuracy - 0.01}
        )
        best = {"metric": "val/acc", "value": accuracy, "epoch": 1, "checkpoint": "checkpoints/best.ckpt"}
        started = f"2026-01-01T00:{minutes:02d}:{seconds:02d}+00:00"
        done = {"status": "done", "metrics": metrics, "best": best, "started": started, "duration_s": 10.0 + number}
        record.update(**{**done, **values})
        if events:
            close_session(record)
        if record.values["status"] == "running" and not killed:
            running.enter_context(owned(folder))
        return record

    with running:
        yield run


def copy_of_the_project(folder: Path) -> Path:
    """A project in ``folder`` with code and configuration of its own, and the data shared."""
    for part in ("src", "conf", "hydra_plugins"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "data").symlink_to(ROOT / "data")
    return folder
