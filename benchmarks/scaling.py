"""Measure throughput, in samples per second, on one and on two processes for different batch sizes.

Each round is one multirun of experiment=article without callbacks, in which the two contenders of a batch size follow each
other. One process uses all cores, two use half of them each. The overhead of two processes is the all-reduce of the gradients
at each step, which is also measured separately: in shared memory, as in a run on one machine, and with gloo.

    # Five rounds, about five minutes on two cores
    python -m benchmarks.scaling
    # Three rounds, as JSON
    python -m benchmarks.scaling --rounds 3 --json
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

from benchmarks.arguments import add_json, add_rounds
from src.parsers import make_parser
from src.paths import ROOT

BATCHES = (64, 128, 256, 512, 1024, 2048, 4096, 8192)

# Parameters of 784-128-64-10: the number of gradients that are summed at each step.
PARAMETERS = 784 * 128 + 128 + 128 * 64 + 64 + 64 * 10 + 10
_ADD_UP = """
import sys, time, torch, torch.distributed as dist
from src.fast.shared_memory import SharedSum
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=int(sys.argv[2]), world_size=2)
gradient, work = torch.ones(int(sys.argv[3])), torch.rand(300, 300)
add_up = SharedSum.of(len(gradient), gradient.dtype) if sys.argv[4] == "shared" else dist.all_reduce
times = []
for _ in range(600):
    work @ work  # training computes between two all-reduces, so waiting threads are asleep
    begin = time.perf_counter()
    add_up(gradient)
    times.append(time.perf_counter() - begin)
    gradient.fill_(1)
if sys.argv[2] == "0":
    print(sorted(times[100:])[250])
dist.barrier()
dist.destroy_process_group()
"""


def add_up(how: str) -> float:
    """Median seconds of an all-reduce of all gradients between two processes, with ``gloo`` or in ``shared`` memory."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-c", _ADD_UP, f"{folder}/meet"]
        environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
        ranks = [
            subprocess.Popen(
                [*words, str(rank), str(PARAMETERS), how], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
            )
            for rank in range(2)
        ]
        output, _ = [rank.communicate()[0] for rank in ranks]
    return float(output)


def one_round(epochs: int) -> dict[tuple[int, int], float]:
    """Samples per second by (batch size, processes)."""
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


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = make_parser("benchmarks.scaling", __doc__)
    add_rounds(parser, 5)
    text = "Train N epochs per run (default: 2)."
    parser.add_argument("--epochs", type=int, default=2, metavar="N", help=text)
    add_json(parser, "the rounds")
    return parser


def main() -> None:
    """Run the rounds and print the medians."""
    args = build_parser().parse_args()
    rounds = [one_round(args.epochs) for _ in range(args.rounds)]
    sums = {how: [add_up(how) for _ in range(args.rounds)] for how in ("shared", "gloo")}
    if args.json:
        named = [{f"{batch}/{processes}": v for (batch, processes), v in r.items()} for r in rounds]
        print(json.dumps({"samples_per_s": named, "add_up_s": sums}))
        return
    table = Table(title=f"samples per second, {args.rounds} rounds, {os.cpu_count()} cores", title_justify="left")
    for heading in ("batch size", "1 process", "2 processes", "ratio", "min", "max", "µs per step", "of 2"):
        table.add_column(heading, justify="right")
    for batch in BATCHES:
        ratios = [r[batch, 2] / r[batch, 1] for r in rounds]
        medians = [f"{statistics.median(r[batch, processes] for r in rounds):,.0f}" for processes in (1, 2)]
        steps = [f"{statistics.median(batch / r[batch, processes] for r in rounds) * 1e6:,.0f}" for processes in (1, 2)]
        table.add_row(str(batch), *medians, *(f"{f(ratios):.2f}" for f in (statistics.median, min, max)), *steps)
    Console().print(table)
    for how, seconds in sums.items():
        median, least, largest = (1e6 * f(seconds) for f in (statistics.median, min, max))
        print(f"all-reduce of {PARAMETERS:,} gradients, {how}: {median:.0f} µs ({least:.0f} to {largest:.0f})")


if __name__ == "__main__":
    main()
