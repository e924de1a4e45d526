"""Compare the performance on this machine with the targets.

Ratios are computed within each round, and their median is compared with the target; seconds depend on the machine. ``make
bench`` runs it.

    # Three rounds, about three minutes on two cores
    python -m benchmarks.goals
    # Seven rounds, as JSON
    python -m benchmarks.goals --rounds 7 --json
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
from benchmarks.arguments import add_epochs, add_json, add_rounds
from src.parsers import make_parser
from src.paths import ROOT

_JOBS = 16
_SWEEP = ["experiment=article", "trainer=cpu", "trainer.max_epochs=1", f"seed=range(0,{_JOBS})"]
_ONE_AT_A_TIME = "hydra.launcher.n_jobs=1"


class Target(NamedTuple):
    """A row of the table.

    Attributes:
        what: what is measured.
        limit: the largest median that meets the target.
        values: one measurement per round.
    """

    what: str
    limit: float
    values: list[float]

    @property
    def median(self) -> float:
        """Median over the rounds."""
        return statistics.median(self.values)


def ratios(rounds: Sequence[Mapping[str, float]], one: str, other: str) -> list[float]:
    """Ratio of the time of ``one`` to that of ``other`` in each round."""
    return [values[one] / values[other] for values in rounds]


def seconds_of_sweep(*words: str) -> float:
    """Seconds of a multirun of sixteen jobs of one epoch each."""
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


def measure(rounds: int, epochs: int, threads: int, sweeps: bool) -> list[Target]:
    """Measure every row."""
    both = ["reference", "article", "reference, val, save, test", "article, val_size=5000, test"]
    others = [name for name in ("reference, flushed", "jax, one scan", "tutorial") if name in epoch.CONTENDERS]
    full = epoch.take_turns([*both, *others], rounds, epochs, threads)
    single = epoch.take_turns(both[:2], rounds, epochs, 1)
    shared = busy.take_turns(rounds, epochs)
    slower = [one["one thread, idle machine"] / one["trainer.threads=auto"] for one in shared]
    # In a separate process: the peak memory of a child starts at that of its parent, and this one has imported torch.
    words = [sys.executable, "-m", "benchmarks.start", "--rounds", str(rounds), "--json"]
    commands = json.loads(subprocess.run(words, cwd=ROOT, check=True, capture_output=True).stdout)
    starts = [{name: seconds for name, (seconds, _) in one.items()} for one in commands]
    memory = [{name: mb for name, (_, mb) in one.items()} for one in commands]
    first, imports = "to the end of the first optimizer step", "all that a run imports"
    made = "import torch, make an optimizer"
    targets = [
        Target("epoch / reference", 0.5, ratios(full, "article", "reference")),
        Target("the same on one thread", 0.5, ratios(single, "article", "reference")),
        Target("with validation, checkpoint and test / reference", 1.05, ratios(full, both[3], both[2])),
        *[
            Target(f"epoch / {name}", limit, ratios(full, "article", name))
            for name, limit in (("reference, flushed", 0.65), ("jax, one scan", 1.2), ("tutorial", 0.1))
            if name in others
        ],
        Target("next to a busy process / one thread on an idle machine", 1 / 0.85, slower),
        Target("--help, s", 1.0, [one["--help"] for one in starts]),
        Target("a mistake in the configuration, s", 1.0, [one["a mistake in the configuration"] for one in starts]),
        Target("runs ls, s", 0.5, [one["runs ls"] for one in starts]),
        Target("first step beyond the imports, s", 0.3, [one[first] - one[imports] for one in starts]),
        # The images take 47 MB.
        *[
            Target(f"memory beyond {base} and the data, MB", 150, [one[first] - one[command] - 47 for one in memory])
            for base, command in (("torch", "import torch"), ("torch with an optimizer", made))
        ],
    ]
    if sweeps:
        start = statistics.median(one[first] for one in starts)
        sequential, parallel = [], []
        for _ in range(rounds):
            [adjacent] = epoch.take_turns(["article"], 1, epochs, threads)
            expected = _JOBS * adjacent["article"] + start
            sequential.append(seconds_of_sweep(_ONE_AT_A_TIME) / expected)
            parallel.append(seconds_of_sweep() / expected)
        targets += [
            Target("16 jobs, a core each / 16 epochs and a start", 1.0, parallel),
            Target("16 jobs, one after another / 16 epochs and a start", 1.3, sequential),
        ]
    return targets


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = make_parser("benchmarks.goals", __doc__)
    add_rounds(parser, 3)
    add_epochs(parser, 3)
    parser.add_argument("--no-sweeps", action="store_true", help="Skip the two sweeps of sixteen jobs.")
    add_json(parser, "all values")
    return parser


def main() -> None:
    """Measure, and print the table of targets."""
    args = build_parser().parse_args()
    threads = torch.get_num_threads()
    targets = measure(args.rounds, args.epochs, threads, not args.no_sweeps)
    if args.json:
        machine = {"threads": threads, "torch": torch.__version__, "machine": platform.machine()}
        print(json.dumps({**machine, "targets": [target._asdict() for target in targets]}))
        return
    title = f"{args.rounds} rounds, {threads} threads, torch {torch.__version__}, {platform.machine()}"
    table = Table("what", "target", "median", "min", "max", "reached", title=title, title_justify="left")
    for target in targets:
        figures = [f"{figure:.3g}" for figure in (target.limit, target.median, min(target.values), max(target.values))]
        table.add_row(target.what, *figures, "yes" if target.median <= target.limit else "no")
    Console().print(table)


if __name__ == "__main__":
    main()
