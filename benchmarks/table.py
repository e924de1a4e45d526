"""Measure the seconds that ``python -m src.runs ls`` takes with many records.

The records are copies of that of a short training, each with its own id and learning rate. An empty Python program is timed
for comparison.

    # 1,000 records, five times
    python -m benchmarks.table
    # 100 records, three times
    python -m benchmarks.table --records 100 --repeats 3
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from src.parsers import make_parser
from src.paths import ROOT


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = make_parser("benchmarks.table", __doc__)
    text = "Make N records (default: 1000)."
    parser.add_argument("--records", type=int, default=1000, metavar="N", help=text)
    text = "Run the command N times (default: 5)."
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help=text)
    return parser


def main() -> None:
    args = build_parser().parse_args()
    with tempfile.TemporaryDirectory() as outputs:
        environment = make_records(Path(outputs), args.records)
        ls, nothing = [], []
        for _ in range(args.repeats):
            ls.append(seconds([sys.executable, "-m", "src.runs", "ls"], environment))
            nothing.append(seconds([sys.executable, "-c", "pass"], environment))
    print(f"{args.records:,} records, {args.repeats} times, median (min to max):")
    for name, times in (("python -m src.runs ls", ls), ("python -c pass", nothing)):
        print(f"  {name:<24}{statistics.median(times):6.2f} s ({min(times):.2f} to {max(times):.2f})")


def make_records(outputs: Path, count: int) -> dict[str, str]:
    """Train once and copy the record of the run; returns the environment for commands."""
    environment = {**os.environ, "OUTPUTS_DIR": str(outputs)}
    short = ["trainer.max_epochs=1", "data.train_size=1000"]
    train = [sys.executable, "-m", "src.train", *short]
    subprocess.run(train, cwd=ROOT, env=environment, check=True, capture_output=True)
    [path] = outputs.glob("runs/*/run.json")
    run = json.loads(path.read_text())
    for number in range(1, count):
        folder = path.parent.with_name(f"{run['id'][:-4]}{number:04d}")
        folder.mkdir()
        run["id"], run["config"]["optimizer"]["lr"] = folder.name, number * 1e-4
        (folder / "run.json").write_text(json.dumps(run, indent=2))
    return environment


def seconds(command: list[str], environment: dict[str, str]) -> float:
    """Wall-clock seconds of a command."""
    began = time.perf_counter()
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
