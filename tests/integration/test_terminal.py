"""A command and the terminal it was started from: signals, a reader or a terminal that disappears, encodings."""

import json
import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from src.paths import ROOT
from tests.conftest import SMALL, Command, Finished, MakeRun

ENDLESS = [*SMALL, "trainer.max_epochs=100000"]


def _start(outputs: Path, *command: str, **options: Any) -> subprocess.Popen[str]:
    env = {**os.environ, "OUTPUTS_DIR": str(outputs), "COLUMNS": "200"}
    return subprocess.Popen(
        command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
    )


def _train(*words: str) -> list[str]:
    return [sys.executable, "-m", "src.train", *words]


def _wait_for(condition: Callable[[], Any], seconds: float = 100) -> Any:
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until
        time.sleep(0.02)
    return found


def _last(outputs: Path) -> Path | None:
    return next(iter(outputs.glob("*/**/last.ckpt")), None)


@pytest.mark.parametrize(
    ("words", "signum", "status"),
    [
        pytest.param([], signal.SIGTERM, 143, marks=pytest.mark.slow),
        ([], signal.SIGINT, 130),
        (["trainer.devices=2"], signal.SIGTERM, 143),
        (["trainer.devices=2"], signal.SIGHUP, 129),
        pytest.param([], signal.SIGHUP, 129, marks=pytest.mark.slow),
        (["-m", "seed=1,2", "hydra.launcher.n_jobs=1"], signal.SIGINT, 130),
    ],
)
def test_a_signal_saves_and_says_so(outputs: Path, words: list[str], signum: int, status: int):
    with _start(outputs, *_train(*ENDLESS, *words)) as running:
        _wait_for(lambda: _last(outputs))
        running.send_signal(signum)
        said, _ = running.communicate(timeout=60)
    assert running.returncode == status, said
    done = Finished(running.returncode, said, "", outputs)
    assert {run["status"] for run in done.runs} == {"interrupted"}
    checkpoint = torch.load(done.directories[0] / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] > 0
    assert "Traceback" not in said
    if "-m" in words:
        assert "not run:" in said
        assert "seed=2" in said


@pytest.mark.parametrize("words", [["trainer.devices=2"], ["-m", "seed=1"]])
def test_nohup_keeps_a_training_alive_when_its_terminal_is_closed(outputs: Path, words: list[str]):
    with _start(outputs, "nohup", *_train(*ENDLESS, *words), start_new_session=True) as running:
        _wait_for(lambda: _last(outputs))
        os.killpg(running.pid, signal.SIGHUP)  # the main process and its ranks, as a closed terminal does
        time.sleep(0.5)
        reached = _last(outputs).stat().st_mtime_ns
        _wait_for(lambda: running.poll() is not None or _last(outputs).stat().st_mtime_ns > reached)
        running.send_signal(signal.SIGTERM)
        said, _ = running.communicate(timeout=60)
    assert running.returncode == 143, said


def test_signals_while_the_interpreter_exits_end_it_silently(outputs: Path):
    with _start(outputs, *_train(*ENDLESS)) as running:
        record = _wait_for(lambda: _last(outputs)).parents[1] / "run.json"
        running.send_signal(signal.SIGUSR1)
        _wait_for(lambda: json.loads(record.read_text())["status"] == "interrupted")
        while running.poll() is None:
            running.send_signal(signal.SIGTERM)
            time.sleep(0.002)
        said, _ = running.communicate(timeout=60)
    assert running.returncode in (138, 143, -signal.SIGTERM)
    assert "Exception ignored" not in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("words", "redirection"),
    [
        ([], ">/dev/full 2>&1"),
        (["trainer.devices=2"], ">&- 2>&-"),
        (["-m", "seed=1,2"], "2>&1 | head -1"),
    ],
)
def test_a_training_does_not_need_a_reader(outputs: Path, words: list[str], redirection: str):
    script = f"{shlex.join(_train(*SMALL, *words))} {redirection}; exit ${{PIPESTATUS[0]}}"
    with _start(outputs, "bash", "-c", script) as running:
        said, _ = running.communicate(timeout=200)
    assert running.returncode == 0
    done = Finished(0, said, "", outputs)
    assert {run["status"] for run in done.runs} == {"done"}
    assert len(said.splitlines()) == ("head" in redirection)
    for directory in done.directories:
        epochs = re.findall(r"epoch +(\d)/2  train loss", (directory / "train.log").read_text())
        assert epochs == ["1", "2"]


def test_a_run_resumed_within_an_epoch_shows_its_progress(outputs: Path):
    # Small batches: the epoch is far from over when the first steps are displayed.
    words = [
        "data.train_size=20000",
        "data.batch_size=8",
        "data.steps_per_execution=8",
        "model.hidden=[16]",
        "trainer.max_epochs=1",
    ]
    said = _in_a_terminal(outputs, _train(*words), until=r"[1-9]\d*/2500", then=b"\x03")
    assert "interrupted" in said
    assert re.search(r"stopped +in epoch 1 of 1, after step [1-9]", said)
    said = _in_a_terminal(outputs, _train("resume=latest"))
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.replace("\r", "\n")).splitlines()
    assert [line for line in lines if re.match(r"epoch 1/1 .*[1-9]\d*/2500 .* left  train loss ", line)]
    assert max(len(line) for line in lines if line.startswith("epoch")) <= 80
    [seconds] = re.findall(r"epoch +1/1  train loss .*  ([\d.]+) s", said)
    assert float(seconds) < time.clock_gettime(time.CLOCK_BOOTTIME) / 2


def _in_a_terminal(outputs: Path, command: Sequence[str], until: str | None = None, then: bytes = b"") -> str:
    """Run a command in a terminal of its own, type ``then`` once ``until`` is displayed, and return what was displayed."""
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(ROOT)
        os.execve(
            command[0], list(command), {**os.environ, "OUTPUTS_DIR": str(outputs), "TERM": "xterm", "COLUMNS": "80"}
        )
    shown, deadline = "", time.monotonic() + 200
    with suppress(OSError):  # what Linux raises at the end
        while time.monotonic() < deadline:
            if select.select([terminal], [], [], 1)[0]:
                shown += os.read(terminal, 65536).decode(errors="replace")
            if until and re.search(until, shown):
                os.write(terminal, then)
                until = None
    os.close(terminal)
    os.waitpid(pid, 0)
    return shown


def test_the_first_line_says_what_is_trained_before_torch_is_imported(outputs: Path):
    code = (
        "import sys\n"
        "sys.addaudithook(lambda event, args: event == 'import' and args[0] == 'torch' and print('importing torch'))\n"
        f"from src.train import main\nsys.exit(main({[*SMALL, 'optimizer=sgd']}))\n"
    )
    with _start(outputs, sys.executable, "-c", code) as running:
        said, _ = running.communicate(timeout=100)
    assert said.splitlines()[0] == f"training mlp on mnist with sgd, 2 epochs, in {outputs / 'runs'}"
    assert said.splitlines()[1] == "importing torch"
    assert said.splitlines()[2].startswith("r20")


def test_output_in_an_encoding_that_lacks_characters(command: Command, train_here: Command):
    trained = train_here()
    for words in (["show", "latest"], ["note", "latest", "naïve ✓"], ["ls"]):
        done = command("runs", *words, PYTHONIOENCODING="ascii")
        assert done.status == 0, done.stderr
    assert trained.runs[0]["note"] == "naïve ✓"
    done = command("predict", "latest", "docs/digits/0-open.jpg", PYTHONIOENCODING="ascii")
    assert done.status == 0, done.stderr


def test_a_command_whose_output_is_closed(outputs: Path, make_run: MakeRun):
    make_run()
    for words in ("runs note latest text", "runs ls"):
        script = f"{sys.executable} -m src.{words} >&-"
        with _start(outputs, "bash", "-c", script) as running:
            said, _ = running.communicate(timeout=100)
        assert (running.returncode, said) == (0, "")


def test_a_note_that_is_not_utf_8_is_kept_as_text(here: Command, make_run: MakeRun):
    record = make_run()
    assert here("runs", "note", "latest", "caf\udce9").status == 0
    assert record.load(record.directory).values["note"] == "caf\ufffd"
    assert here("runs", "report", "latest").status == 0
    done = here("train", "data.dir='/caf\udce9'")
    assert done.status == 2
    assert "not UTF-8" in done.stderr
