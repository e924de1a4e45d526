"""Compare networks of different sizes: accuracy, bytes, and inference time at batch sizes 1 and 256 on one thread.

A row is a configuration, with the mean and the sample standard deviation of its seeds. The forward pass of the first one's best
weights on preprocessed float32 samples is timed, without gradients; pruned weights are multiplied like any others. With
--exported further rows are the files that python -m src.export has written, by onnxruntime: these take raw samples, and
preprocessing and softmax are part of them. All networks alternate in each round, and the minimum over the rounds is reported,
because other load on the machine can only increase it.

    # The runs of the latest sweep
    python -m benchmarks.sizes latest
    # Several sweeps with their exported files, as JSON
    python -m benchmarks.sizes SWEEP SWEEP --exported --json
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.arguments import add_json, add_rounds
from src.analysis.export.programs import INPUT
from src.callbacks.latency import latencies
from src.command import add_run_or_sweep, exit_with, status_of
from src.errors import RunNotFound
from src.parsers import make_parser
from src.records.record import Record
from src.records.replicates import Aggregate, Replicates, aggregate, group
from src.records.sweep import find_several
from src.training.weights import trained

BATCHES = (1, 256)
# Files of src.export.
FORMATS = ("onnx", "int8.onnx")


@dataclass(frozen=True)
class Row:
    """A configuration, or the files exported from its runs.

    Attributes:
        name: the name of its runs.
        hidden: widths of the hidden layers.
        form: torch, onnx or int8.onnx.
        parameters: number of parameters.
        not_zero: number of parameters that are not zero.
        kilobytes: size of the parameters, or of the file, in 1,000 bytes.
        val: accuracy on held-out samples; None for files.
        test: accuracy on the test set.
        ms: milliseconds by batch size.
    """

    name: str
    hidden: str
    form: str
    parameters: int
    not_zero: int
    kilobytes: float
    val: Aggregate | None
    test: Aggregate | None
    ms: dict[int, float]


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = make_parser("benchmarks.sizes", __doc__)
    add_run_or_sweep(parser, "Runs, or sweeps for all of their runs.", name="names", nargs="+")
    parser.add_argument("--exported", action="store_true", help="Add the files that src.export has written.")
    add_rounds(parser, 200)
    add_json(parser, "the rows")
    return parser


def main() -> None:
    """Time the rounds and print the table."""
    args = build_parser().parse_args()
    torch.set_num_threads(1)
    records = find_several(args.names)
    if missing := [record.values["id"] for record in records if record.status != "done"]:
        raise RunNotFound(f"{', '.join(missing)} did not finish: resume it first.")
    found = [one for replicates in group(records) for one in rows(replicates, args.exported)]
    calls = [partial(call, inputs(size)) for _, call, inputs in found for size in BATCHES]
    with torch.no_grad():
        ms = iter(latencies(calls, 0, args.rounds))
    timed = [replace(row, ms={size: next(ms) for size in BATCHES}) for row, _, _ in found]
    if args.json:
        print(json.dumps([asdict(row) for row in timed], indent=2))
        return
    table = Table("name", "hidden", "form", "parameters", "not zero", "kB", "val/acc", "test/acc", box=None)
    for size in BATCHES:
        table.add_column(f"ms for {size}")
    for row in timed:
        counts = [f"{row.parameters:,}", f"{row.not_zero:,}", f"{row.kilobytes:.1f}"]
        cells = [row.name, row.hidden, row.form, *counts, shown(row.val), shown(row.test)]
        table.add_row(*cells, *(f"{row.ms[size]:.3f}" for size in BATCHES))
    Console().print(table)


Timed = tuple[Row, Callable[[Any], object], Callable[[int], Any]]


def rows(replicates: Replicates, exported: bool) -> list[Timed]:
    """The rows of a configuration, each with its forward pass and a function that makes inputs of a batch size."""
    record = replicates.used[0]
    net = trained(record)[0].classifier.net
    sizes = [parameter.numel() * parameter.element_size() for parameter in net.parameters()]
    hidden = json.dumps(record.values["config"]["model"]["hidden"])
    row = Row(
        name=record.values["name"] or record.values["id"],
        hidden=hidden,
        form="torch",
        parameters=sum(parameter.numel() for parameter in net.parameters()),
        not_zero=round(sum(map(not_zero, replicates.used)) / len(replicates.used)),
        kilobytes=sum(sizes) / 1000,
        val=replicates.metric("best/val/acc"),
        test=replicates.metric("test/acc"),
        ms={},
    )
    files = [exported_row(row, replicates.used, form) for form in FORMATS] if exported else []
    return [(row, net, lambda size: torch.rand(size, 28, 28)), *(one for one in files if one)]


def not_zero(record: Record) -> int:
    """Number of a run's parameters that are not zero."""
    return sum(int(parameter.count_nonzero()) for parameter in trained(record)[0].classifier.net.parameters())


def exported_row(row: Row, records: Sequence[Record], form: str) -> Timed | None:
    """The row of the latest exported files of a form; None if no run has been exported to it."""
    exports = [(record, one) for record in records for one in record.values.get("exports", []) if one["format"] == form]
    latest = {Path(record.directory, entry["file"]): entry for record, entry in exports}
    if not latest:
        return None
    files = [*latest]
    kilobytes = sum(file.stat().st_size for file in files) / len(files) / 1000
    test = aggregate([entry["checks"]["accuracy"] for entry in latest.values()])
    found = replace(row, form=form, kilobytes=kilobytes, val=None, test=test)
    return found, session(files[0]), lambda size: {INPUT: np.random.randint(256, size=(size, 28, 28), dtype=np.uint8)}


def session(file: Path) -> Callable[[dict[str, Any]], object]:
    """The forward pass of an ONNX file on one thread."""
    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    opened = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda inputs: opened.run(None, inputs)


def shown(value: Aggregate | None) -> str:
    """Mean ± standard deviation (n)."""
    if value is None:
        return ""
    return f"{value.mean:.4f}" if value.std is None else f"{value.mean:.4f} ± {value.std:.4f} ({value.n})"


if __name__ == "__main__":
    exit_with(status_of(main))
