"""Compare runs of different sizes: accuracy, and inference time at batch sizes 1 and 256 on one thread.

The forward pass of the best checkpoint on preprocessed float32 samples is timed, without gradients; pruned weights are
multiplied like any others. The networks alternate in each round, and the minimum over the rounds is reported, because other
load on the machine can only increase it.

    # The runs of the latest sweep, in the order of its jobs
    python -m benchmarks.sizes latest
    # Any runs, as JSON
    python -m benchmarks.sizes RUN RUN --json
"""

import argparse
import json
import time
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from benchmarks.arguments import add_json, add_rounds
from src.callbacks.pruning import sparsity
from src.command import add_run_or_sweep
from src.errors import RunNotFound
from src.parsers import make_parser
from src.paths import sweeps_dir
from src.records.find import find
from src.records.record import Record
from src.training.weights import trained

BATCHES = (1, 256)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = make_parser("benchmarks.sizes", __doc__)
    add_run_or_sweep(parser, "Runs, or sweeps for all of their runs.", name="names", nargs="+")
    add_rounds(parser, 21)
    add_json(parser, "the rows")
    return parser


def main() -> None:
    """Time the rounds and print the table."""
    args = build_parser().parse_args()
    torch.set_num_threads(1)
    records = [record for name in args.names for record in runs_of(name)]
    networks = [trained(record)[0].classifier.net for record in records]
    times: list[dict[int, list[float]]] = [{size: [] for size in BATCHES} for _ in networks]
    for _ in range(args.rounds):
        for net, mine in zip(networks, times, strict=True):
            for size in BATCHES:
                mine[size].append(milliseconds(net, torch.rand(size, 28, 28)))
    rows = [row(record, net, mine) for record, net, mine in zip(records, networks, times, strict=True)]
    if args.json:
        print(json.dumps(rows, indent=2))
        return
    table = Table(
        "hidden", "parameters", "not zero", "sparsity", "val/acc", "test/acc", "ms for 1", "ms for 256", box=None
    )
    for one in rows:
        cells = [one["hidden"], f"{one['parameters']:,}", f"{one['not_zero']:,}", f"{one['sparsity']:.0%}"]
        measured = [f"{one['val/acc']:.4f}", f"{one['test/acc']:.4f}", *(f"{one[f'ms_{n}']:.3f}" for n in BATCHES)]
        table.add_row(*cells, *measured)
    Console().print(table)


def runs_of(name: str) -> list[Record]:
    """The runs of the sweep of that name in the order of its jobs, or the run of that name."""
    jobs = sorted((sweeps_dir() / name).glob("*/run.json"))
    records = [Record.load(path.parent) for path in jobs] or [find(name)]
    if missing := [record.values["id"] for record in records if record.status != "done"]:
        raise RunNotFound(f"{', '.join(missing)} did not finish: resume it first.")
    return records


@torch.no_grad()
def milliseconds(net: nn.Module, inputs: torch.Tensor) -> float:
    """Mean milliseconds of a forward pass, over enough calls to take more than 10 ms."""
    calls = 1
    while True:
        start = time.perf_counter()
        for _ in range(calls):
            net(inputs)
        seconds = time.perf_counter() - start
        if seconds > 0.01:
            return seconds / calls * 1000
        calls *= 2


def row(record: Record, net: nn.Module, times: dict[int, list[float]]) -> dict[str, Any]:
    """Sizes, accuracies and times of one run."""
    parameters = list(net.parameters())
    return {
        "run": record.values["id"],
        "hidden": json.dumps(record.values["config"]["model"]["hidden"]),
        "parameters": sum(parameter.numel() for parameter in parameters),
        "not_zero": sum(int(parameter.count_nonzero()) for parameter in parameters),
        "sparsity": sparsity(net),
        "val/acc": record.values["best"]["value"],
        "test/acc": record.values["metrics"]["test/acc"],
        **{f"ms_{size}": min(values) for size, values in times.items()},
    }


if __name__ == "__main__":
    main()
