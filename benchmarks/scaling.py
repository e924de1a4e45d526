"""Samples a second on one and on two processes, over batch sizes.

    python -m benchmarks.scaling                  five rounds, about five minutes on two cores
    python -m benchmarks.scaling --rounds 3 --json

Each round is one multirun of experiment=article without callbacks, the two contenders next to each other for every batch
size; one process has all the cores, two have half of them each.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from src.paths import ROOT

BATCHES = (64, 128, 256, 512, 1024, 2048, 4096, 8192)


def one_round(epochs: int) -> dict[tuple[int, int], float]:
    """Samples a second by (batch size, processes)."""
    words = [
        "experiment=article",
        "trainer=cpu",
        "callbacks=none",
        "logger=none",
        f"trainer.max_epochs={epochs}",
        f"data.batch_size={','.join(map(str, BATCHES))}",
        "trainer.devices=1,2",
    ]
    with tempfile.TemporaryDirectory() as outputs:
        environment = {**os.environ, "OUTPUTS_DIR": outputs}
        subprocess.run(
            [sys.executable, "-m", "src.train", "-m", *words],
            cwd=ROOT,
            env=environment,
            check=True,
            capture_output=True,
        )
        runs = [json.loads(path.read_text()) for path in Path(outputs).glob("sweeps/*/*/run.json")]
    return {
        (run["config"]["data"]["batch_size"], run["config"]["trainer"]["devices"]): run["samples_per_s"] for run in runs
    }


def main() -> None:
    """Run the rounds and print the medians."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print the rounds instead of the table")
    args = parser.parse_args()
    rounds = [one_round(args.epochs) for _ in range(args.rounds)]
    if args.json:
        print(json.dumps([{f"{batch}/{processes}": v for (batch, processes), v in r.items()} for r in rounds]))
        return
    table = Table(title=f"samples a second, {args.rounds} rounds, {os.cpu_count()} cores", title_justify="left")
    for heading in ("batch size", "1 process", "2 processes", "2 / 1", "min", "max"):
        table.add_column(heading, justify="right")
    for batch in BATCHES:
        ratios = [r[batch, 2] / r[batch, 1] for r in rounds]
        medians = [f"{statistics.median(r[batch, processes] for r in rounds):,.0f}" for processes in (1, 2)]
        table.add_row(str(batch), *medians, *(f"{f(ratios):.2f}" for f in (statistics.median, min, max)))
    Console().print(table)


if __name__ == "__main__":
    main()
