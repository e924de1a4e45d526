"""What this project means to reach, and what it reaches here.

    make bench                                    three rounds, about three minutes on two cores
    make bench ARGS="--rounds 7 --json"

Ratios are taken within each round and their median is compared with the goal; seconds depend on the machine.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import busy, epoch
from src.paths import ROOT

_JOBS = 16
_SWEEP = ["experiment=article", "trainer=cpu", "trainer.max_epochs=1", f"seed=range(0,{_JOBS})"]
_ONE_AT_A_TIME = "hydra.launcher.n_jobs=1"


class Goal(NamedTuple):
    """One line of the table.

    Attributes:
        what: what is measured.
        limit: the largest median that reaches the goal.
        values: a figure for each round.
    """

    what: str
    limit: float
    values: list[float]

    @property
    def median(self) -> float:
        """Of the rounds."""
        return statistics.median(self.values)


def ratios(rounds: Sequence[Mapping[str, float]], one: str, other: str) -> list[float]:
    """How long ``one`` took beside ``other``, round by round."""
    return [values[one] / values[other] for values in rounds]


def seconds_of_sweep(*words: str) -> float:
    """Seconds of the multirun of sixteen jobs of one epoch."""
    with tempfile.TemporaryDirectory() as outputs:
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "src.train", "-m", *_SWEEP, *words],
            cwd=ROOT,
            env={**os.environ, "OUTPUTS_DIR": outputs},
            check=True,
            capture_output=True,
        )
        return time.perf_counter() - began


def measure(rounds: int, epochs: int, threads: int, sweeps: bool) -> list[Goal]:
    """Measure every line."""
    both = ["by hand", "article", "by hand, val, save, test", "article, val_size=5000, test"]
    others = [name for name in ("by hand, flushed", "jax, one scan", "tutorial") if name in epoch.CONTENDERS]
    full = epoch.take_turns([*both, *others], rounds, epochs, threads)
    single = epoch.take_turns(both[:2], rounds, epochs, 1)
    shared = busy.take_turns(rounds, epochs)
    slower = [one["one thread, idle machine"] / one["trainer.threads=auto"] for one in shared]
    # By a process of its own: a child's peak memory counts from that of its parent, which here holds torch and more.
    words = [sys.executable, "-m", "benchmarks.start", "--rounds", str(rounds), "--json"]
    commands = json.loads(subprocess.run(words, cwd=ROOT, check=True, capture_output=True).stdout)
    starts = [{name: seconds for name, (seconds, _) in one.items()} for one in commands]
    memory = [{name: mb for name, (_, mb) in one.items()} for one in commands]
    first, imports = "to the end of the first optimizer step", "all that a run imports"
    made = "import torch, make an optimizer"
    goals = [
        Goal("epoch / by hand", 0.5, ratios(full, "article", "by hand")),
        Goal("the same on one thread", 0.5, ratios(single, "article", "by hand")),
        Goal("with validation, checkpoint and test / by hand", 1.05, ratios(full, both[3], both[2])),
        *[
            Goal(f"epoch / {name}", limit, ratios(full, "article", name))
            for name, limit in (("by hand, flushed", 0.65), ("jax, one scan", 1.2), ("tutorial", 0.1))
            if name in others
        ],
        Goal("beside a busy process / on one thread of an idle machine", 1 / 0.85, slower),
        Goal("--help, s", 1.0, [one["--help"] for one in starts]),
        Goal("a mistake in the configuration, s", 1.0, [one["a mistake in the configuration"] for one in starts]),
        Goal("runs ls, s", 0.5, [one["runs ls"] for one in starts]),
        Goal("first step beyond the imports, s", 0.3, [one[first] - one[imports] for one in starts]),
        # 47 MB are the images themselves.
        *[
            Goal(f"memory beyond {base} and the data, MB", 150, [one[first] - one[command] - 47 for one in memory])
            for base, command in (("torch", "import torch"), ("torch with an optimizer", made))
        ],
    ]
    if sweeps:
        start = statistics.median(one[first] for one in starts)
        after, beside = [], []
        for _ in range(rounds):
            [near] = epoch.take_turns(["article"], 1, epochs, threads)
            fair = _JOBS * near["article"] + start
            after.append(seconds_of_sweep(_ONE_AT_A_TIME) / fair)
            beside.append(seconds_of_sweep() / fair)
        goals += [
            Goal("16 jobs, a core each / 16 epochs and a start", 1.0, beside),
            Goal("16 jobs, one after another / 16 epochs and a start", 1.3, after),
        ]
    return goals


def main() -> None:
    """Measure, and print what was reached."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.goals", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3, help="counted in each turn, after one that is not")
    parser.add_argument("--no-sweeps", action="store_true", help="leave the two sweeps of sixteen jobs out")
    parser.add_argument("--json", action="store_true", help="print all figures instead of the table")
    args = parser.parse_args()
    threads = torch.get_num_threads()
    goals = measure(args.rounds, args.epochs, threads, not args.no_sweeps)
    if args.json:
        machine = {"threads": threads, "torch": torch.__version__, "machine": platform.machine()}
        print(json.dumps({**machine, "goals": [goal._asdict() for goal in goals]}))
        return
    title = f"{args.rounds} rounds, {threads} threads, torch {torch.__version__}, {platform.machine()}"
    table = Table("what", "goal", "median", "min", "max", "reached", title=title, title_justify="left")
    for goal in goals:
        figures = [f"{figure:.3g}" for figure in (goal.limit, goal.median, min(goal.values), max(goal.values))]
        table.add_row(goal.what, *figures, "yes" if goal.median <= goal.limit else "no")
    Console().print(table)


if __name__ == "__main__":
    main()
