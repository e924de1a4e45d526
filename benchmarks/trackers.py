"""Measure how long MLflow and trackio take to list the best runs, compared with ``python -m src.runs ls``.

Every tool gets the same runs: the settings and final metrics of a short training, each with its own learning rate and
accuracy. The first run is logged with the tool's own API, the others are copies of it in the tool's own store. Each round
starts the command of every tool once, in a new process, and takes its elapsed time and CPU time. A tool that is not installed is
skipped. W&B is absent: it has no command that lists offline runs.

    # 1,000 runs, with the trackers of this environment
    python -m benchmarks.trackers
    # 10,000 runs, with a tool that is installed elsewhere
    python -m benchmarks.trackers --runs 10000 --python trackio=venv/bin/python
"""

import argparse
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.arguments import add_rounds
from benchmarks.table import make_records
from src.parsers import make_parser
from src.paths import ROOT
from src.records.record import Record
from src.records.settings import settings_of

_METRIC = "val/acc"
_LOG = {
    "mlflow": """
import json, mlflow, sys
settings, metrics = json.load(sys.stdin)
with mlflow.start_run():
    mlflow.log_params(settings)
    mlflow.log_metrics(metrics, step=1)
""",
    "trackio": """
import json, sys, trackio
settings, metrics = json.load(sys.stdin)
trackio.init(project="runs", config=settings)
trackio.log(metrics)
trackio.finish()
""",
}
# The 20 best runs with an accuracy above 0.5.
_LIST = {
    "mlflow": """
import mlflow
by = "metrics.`val/acc`"
print(mlflow.search_runs(filter_string=f"{by} > 0.5", order_by=[f"{by} DESC"], max_results=20))
""",
    "trackio": """
import sys
from trackio.cli import main
value = "json_extract(metrics, '$.\\"val/acc\\"')"
sql = f"SELECT run_name, {value} AS best FROM metrics WHERE best > 0.5 ORDER BY best DESC LIMIT 20"
sys.argv = ["trackio", "query", "project", "--project", "runs", "--sql", sql]
main()
""",
}
# Settings and final metrics of a run.
Run = tuple[Mapping[str, Any], Mapping[str, float]]


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = make_parser("benchmarks.trackers", __doc__)
    parser.add_argument("--runs", type=int, default=1000, metavar="N", help="Make N runs (default: 1000).")
    add_rounds(parser, 5)
    text = "Python in whose environment a tool is installed (default: this one); may be repeated."
    parser.add_argument("--python", action="append", default=[], metavar="TOOL=PATH", help=text)
    return parser


def main() -> None:
    """Make the runs, run the rounds and print the medians."""
    args = build_parser().parse_args()
    pythons = dict.fromkeys(_LOG, sys.executable) | dict(word.split("=", 1) for word in args.python)
    with tempfile.TemporaryDirectory() as temporary:
        stores = Path(temporary)
        environment = make_records(stores / "ours", args.runs)
        environment |= {
            "MLFLOW_TRACKING_URI": f"sqlite:///{stores}/mlflow.db",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "TRACKIO_DIR": f"{stores}/trackio",
        }
        runs = vary(stores / "ours")
        commands = {"src.runs ls": [sys.executable, "-m", "src.runs", "ls", f"{_METRIC}>0.5", "--sort", _METRIC]}
        for tool, python in pythons.items():
            if not is_installed(tool, python):
                print(f"{tool} is not installed in {python}", file=sys.stderr)
                continue
            log = [python, "-c", _LOG[tool]]
            subprocess.run(log, input=json.dumps(runs[0]), text=True, env=environment, check=True, capture_output=True)
            _COPY[tool](stores, runs[1:])
            commands[tool] = [python, "-c", _LIST[tool]]
        rounds = [
            {name: measure(command, environment) for name, command in commands.items()} for _ in range(args.rounds)
        ]
    print(f"{args.runs:,} runs, {args.rounds} rounds, median (min to max) in seconds:")
    for name in commands:
        elapsed, cpu = ([one[name][kind] for one in rounds] for kind in (0, 1))
        print(f"  {name:<13}elapsed {figures(elapsed)}   CPU {figures(cpu)}")


def is_installed(tool: str, python: str) -> bool:
    """Whether a Python exists and can import a tool."""
    try:
        return subprocess.run([python, "-c", f"import {tool}"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def vary(outputs: Path) -> list[Run]:
    """Give every record another accuracy and start, as if each run had taken a minute; returns settings and metrics of all."""
    paths = sorted(outputs.glob("runs/*/run.json"))
    found: list[Run] = []
    for number, path in enumerate(paths):
        run = json.loads(path.read_text())
        started = datetime.now(UTC) - timedelta(minutes=len(paths) - number)
        run["started"] = started.isoformat(timespec="milliseconds")
        run["metrics"][_METRIC] = run["best"]["value"] = number * 7919 % len(paths) / len(paths)
        path.write_text(json.dumps(run, indent=2))
        os.utime(path, (started.timestamp() + 60, started.timestamp() + 60))
        found.append((settings_of(Record.load(path.parent)), run["metrics"]))
    return found


def copy_in_mlflow(stores: Path, runs: Sequence[Run]) -> None:
    """Copy the logged run of MLflow's SQLite store, once for each of these runs."""
    with sqlite3.connect(stores / "mlflow.db") as db:
        db.row_factory = sqlite3.Row
        for table in ("runs", "params", "metrics", "latest_metrics", "tags"):
            rows = [dict(row) for row in db.execute(f"SELECT * FROM {table}")]
            for number, (settings, metrics) in enumerate(runs):
                known = {"params": {name: str(value) for name, value in settings.items()}}.get(table, metrics)
                copies = [
                    row
                    | {"run_uuid": f"{number:032x}"}
                    | ({"value": known[row["key"]]} if "value" in row and row["key"] in known else {})
                    for row in rows
                ]
                insert(db, table, copies)


def copy_in_trackio(stores: Path, runs: Sequence[Run]) -> None:
    """Copy the logged run of trackio's SQLite store, once for each of these runs."""
    with sqlite3.connect(stores / "trackio" / "runs.db") as db:
        db.row_factory = sqlite3.Row
        for part, (table, column) in enumerate((("configs", "config"), ("metrics", "metrics"))):
            [row] = [dict(row) for row in db.execute(f"SELECT * FROM {table}")]
            del row["id"]
            for number, run in enumerate(runs):
                ids = {name: f"{number:032x}" for name in ("run_id", "log_id") if name in row}
                values = json.dumps(json.loads(row[column]) | dict(run[part]))
                insert(db, table, [row | ids | {"run_name": f"run-{number}", column: values}])


def insert(db: sqlite3.Connection, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows of the same columns into a table."""
    for row in rows[:1]:
        places = ", ".join(f":{name}" for name in row)
        db.executemany(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})", rows)


def measure(command: Sequence[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Elapsed seconds and CPU seconds of a command, with its own processes."""
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    elapsed = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)  # already reaped by wait4
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return elapsed, usage.ru_utime + usage.ru_stime


def figures(seconds: Sequence[float]) -> str:
    """Median and range."""
    return f"{statistics.median(seconds):6.2f} ({min(seconds):.2f} to {max(seconds):.2f})"


_COPY: Mapping[str, Callable[[Path, Sequence[Run]], None]] = {
    "mlflow": copy_in_mlflow,
    "trackio": copy_in_trackio,
}


if __name__ == "__main__":
    main()
