"""A dashboard that runs, and the runs that it shows."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

from src.paths import ROOT
from src.records.record import Record
from tests.conftest import SMALL

SUCCESS, FAILURE, RUNNING, UNKNOWN = "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING", "STATUS_UNKNOWN"
# Two seeds of each configuration; with weights as large as the last rate makes them, the loss is no number any more.
SWEEP = ["optimizer.lr=0.01,1e30", "seed=1,2"]


def wait_for(look: Callable[[], Any], seconds: float = 100) -> Any:
    until = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < until, f"still {found!r}"
        time.sleep(0.05)
    return found


def eventually(check: Callable[[], None], seconds: float = 40) -> None:
    """Try until it passes: TensorBoard reads files one after the other, and answers meanwhile."""
    until = time.monotonic() + seconds
    while True:
        try:
            return check()
        except (AssertionError, ValueError, KeyError, OSError):
            if time.monotonic() > until:
                raise
        time.sleep(0.3)


class Dashboard:
    """What a dashboard answers."""

    def __init__(self, process: subprocess.Popen[str], temp: Path) -> None:
        self.process, self.temp = process, temp
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if found := re.search(r"(\d+) runs? at (http://127\.0\.0\.1:\d+)/", line):
                self.count, self.address = int(found[1]), found[2]
                return
        raise AssertionError(f"status {process.wait()}: {said}")

    def ask(self, path: str, body: dict[str, Any] | None = None, **query: str) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if data else {}
        with urlopen(Request(f"{self.address}/data/{path}?{urlencode(query)}", data, headers), timeout=20) as answer:
            return json.load(answer)

    def runs(self) -> list[str]:
        return list(self.ask("runs"))

    def hparams(self) -> dict[str, dict[str, Any]]:
        """Each row of HParams by its name."""
        shown = self.ask("plugin/hparams/experiment", {})
        self.columns = [info["displayName"] for info in shown["hparamInfos"]]
        self._tags = {info["name"]["tag"]: info["displayName"] for info in shown["metricInfos"]}
        self.metrics = list(self._tags.values())
        columns = [{"hparam": info["name"]} for info in shown["hparamInfos"]]
        asked = {
            "startIndex": 0,
            "sliceSize": 1000,
            "allowedStatuses": [SUCCESS, FAILURE, RUNNING, UNKNOWN],
            "colParams": columns + [{"metric": {"tag": tag}} for tag in self._tags],
            "aggregationType": "AGGREGATION_AVG",
        }
        return {group["name"]: group for group in self.ask("plugin/hparams/session_groups", asked)["sessionGroups"]}

    def values(self, row: dict[str, Any]) -> dict[str, float]:
        """The metrics in a row of HParams, by their headings."""
        return {self._tags[value["name"]["tag"]]: value["value"] for value in row.get("metricValues", [])}

    def scalars(self, run: str, tag: str) -> list[tuple[int, float]]:
        return [(step, value) for _, step, value in self.ask("plugin/scalars/scalars", run=run, tag=tag)]


@contextmanager
def dashboard(outputs: Path, *words: str) -> Iterator[Dashboard]:
    with tempfile.TemporaryDirectory() as temp:
        process = subprocess.Popen(
            [sys.executable, "-m", "src.dashboard", "--no-browser", *words],
            cwd=ROOT,
            env={**os.environ, "OUTPUTS_DIR": str(outputs), "TMPDIR": temp},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield Dashboard(process, Path(temp))
        finally:
            process.kill()
            process.wait()


def train(outputs: Path, *words: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "src.train", *words],
        cwd=ROOT,
        env={**os.environ, "OUTPUTS_DIR": str(outputs)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of four, of which two failed, and a run that was killed and resumed."""
    outputs = tmp_path_factory.mktemp("trained") / "outputs"
    sweep = train(outputs, "-m", *SMALL, *SWEEP)
    killed = train(outputs, *SMALL, "trainer.max_epochs=20")
    [checkpoint] = wait_for(lambda: list(outputs.glob("runs/*/checkpoints/last.ckpt")))
    killed.kill()
    killed.wait()
    assert train(outputs, f"resume={checkpoint.parent.parent}").wait() == 0
    assert sweep.wait() == 1
    return outputs


def records(outputs: Path) -> list[Record]:
    """Those of all runs."""
    return [Record.load(path.parent) for path in sorted(outputs.glob("*/*/**/run.json"))]
