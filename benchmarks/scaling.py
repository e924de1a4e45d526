"""Samples a second on one and on two processes, over batch sizes.

    python -m benchmarks.scaling                  five rounds, about five minutes on two cores
    python -m benchmarks.scaling --rounds 3 --json

Each round is one multirun of experiment=article without callbacks, the two contenders next to each other for every batch
size; one process has all the cores, two have half of them each. What two processes pay for is the all-reduce of the
gradients at each step, which is measured by itself.
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


# Parameters of 784-128-64-10, so many gradients the processes add up at each step.
PARAMETERS = 784 * 128 + 128 + 128 * 64 + 64 + 64 * 10 + 10
_ALL_REDUCE = """
import sys, time, torch, torch.distributed as dist
dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=int(sys.argv[2]), world_size=2)
torch.set_num_threads(1)
gradient, times = torch.ones(int(sys.argv[3])), []
for _ in range(600):
    begin = time.perf_counter()
    dist.all_reduce(gradient)
    times.append(time.perf_counter() - begin)
    gradient.fill_(1)
if sys.argv[2] == "0":
    print(sorted(times[100:])[250])
dist.barrier()
"""


def all_reduce() -> float:
    """Median seconds of an all-reduce of all gradients between two processes that do nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-c", _ALL_REDUCE, f"{folder}/meet"]
        environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
        ranks = [
            subprocess.Popen([*words, str(rank), str(PARAMETERS)], env=environment, stdout=subprocess.PIPE, text=True)
            for rank in range(2)
        ]
        said, _ = [rank.communicate()[0] for rank in ranks]
    return float(said)


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
    reductions = [all_reduce() for _ in range(args.rounds)]
    if args.json:
        named = [{f"{batch}/{processes}": v for (batch, processes), v in r.items()} for r in rounds]
        print(json.dumps({"samples_per_s": named, "all_reduce_s": reductions}))
        return
    table = Table(title=f"samples a second, {args.rounds} rounds, {os.cpu_count()} cores", title_justify="left")
    for heading in ("batch size", "1 process", "2 processes", "2 / 1", "min", "max", "µs a step", "of 2"):
        table.add_column(heading, justify="right")
    for batch in BATCHES:
        ratios = [r[batch, 2] / r[batch, 1] for r in rounds]
        medians = [f"{statistics.median(r[batch, processes] for r in rounds):,.0f}" for processes in (1, 2)]
        steps = [f"{statistics.median(batch / r[batch, processes] for r in rounds) * 1e6:,.0f}" for processes in (1, 2)]
        table.add_row(str(batch), *medians, *(f"{f(ratios):.2f}" for f in (statistics.median, min, max)), *steps)
    Console().print(table)
    median, least, largest = (1e6 * f(reductions) for f in (statistics.median, min, max))
    print(f"all-reduce of {PARAMETERS:,} gradients: {median:.0f} µs ({least:.0f} to {largest:.0f}) at each step of 2")


if __name__ == "__main__":
    main()
