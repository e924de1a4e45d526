"""Measure the startup cost of the commands: seconds to the output or to the first optimizer step, and peak memory.

Each round starts every command once in a new process; seconds are wall-clock time until it exits.

    # Five rounds, about two minutes
    python -m benchmarks.start
    # Three rounds, as JSON
    python -m benchmarks.start --rounds 3 --json
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.arguments import add_json, add_rounds
from src.parsers import make_parser
from src.paths import ROOT

_MB = 1024**2
# Exactly what a single run has imported by its first step.
_IMPORTS = """
import src.training.run, src.train, hydra.core.hydra_config, antlr4.LL1Analyzer
from hydra.core.plugins import Plugins
Plugins.instance()  # imports the installed plugins
import src.training.fit, src.launching.launchers, src.data.mnist, src.optim.schedules, src.loggers.tensorboard
import src.callbacks.curves, src.callbacks.gradients, src.callbacks.progress, src.callbacks.results, src.callbacks.system
import src.callbacks.watch
import os
os._exit(0)
"""
# A run, up to the end of its first step.
_FIRST_STEP = """
import os, sys
import src.training.run, src.train

launch = src.training.run._launch

def stopping(*args):
    from src.fast.steps import Steps  # imported by now
    step = Steps._step

    def first(self):
        step(self)
        os._exit(0)

    Steps._step = first
    return launch(*args)

src.training.run._launch = stopping
src.train.main([])
sys.exit("no step was taken")
"""
COMMANDS = {
    "python that does nothing": ["-c", "pass"],
    "--help": ["-m", "src.train", "--help"],
    "a mistake in the configuration": ["-m", "src.train", "optimzer=sgd"],
    "runs ls": ["-m", "src.runs", "ls"],
    # From here to the first step, all exit by os._exit: a regular exit of torch's libraries takes a second and 117 MB more.
    "import torch": ["-c", "import torch, os; os._exit(0)"],
    # torch's first optimizer loads its compiler.
    "import torch, make an optimizer": ["-c", "import torch, os; torch.optim.Adam([torch.zeros(1)]); os._exit(0)"],
    "all that a run imports": ["-c", _IMPORTS],
    "to the end of the first optimizer step": ["-c", _FIRST_STEP],
    "a run of one epoch": ["-m", "src.train", "experiment=article", "trainer=cpu", "trainer.max_epochs=1"],
}


def once(words: list[str], outputs: str) -> tuple[float, float]:
    """Seconds and peak memory in MB."""
    start = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, *words],
        cwd=ROOT,
        env={**os.environ, "OUTPUTS_DIR": outputs, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)  # already reaped by wait4
    if child.returncode not in (0, 2):  # 2: a mistake in the configuration
        raise subprocess.CalledProcessError(child.returncode, child.args)
    return seconds, usage.ru_maxrss * 1024 / _MB


def take_turns(names: Sequence[str], rounds: int) -> list[dict[str, tuple[float, float]]]:
    """Seconds and peak MB of each command in each round."""
    with tempfile.TemporaryDirectory() as outputs:
        return [{name: once(COMMANDS[name], outputs) for name in names} for _ in range(rounds)]


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = make_parser("benchmarks.start", __doc__)
    add_rounds(parser, 5)
    add_json(parser, "the rounds")
    return parser


def main() -> None:
    """Run the rounds and print the medians."""
    args = build_parser().parse_args()
    rounds = take_turns(list(COMMANDS), args.rounds)
    if args.json:
        print(json.dumps(rounds))
        return
    table = Table("command", "median s", "min", "max", "peak MB", title=f"{args.rounds} rounds", title_justify="left")
    for name in COMMANDS:
        seconds = [one[name][0] for one in rounds]
        figures = [f"{f(seconds):.2f}" for f in (statistics.median, min, max)]
        table.add_row(name, *figures, f"{statistics.median(one[name][1] for one in rounds):.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
