"""What the tests of test_loggers.py share: reads what W&B and MLflow have stored."""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_BLOCK, _HEADER = 32768, 7


@dataclass
class Session:
    """The offline file of one session of a W&B run."""

    id: str
    name: str = ""
    project: str = ""
    group: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    exit_code: int | None = None  # None: killed

    def curve(self, name: str) -> list[tuple[int, float]]:
        return [(row["trainer/global_step"], row[name]) for row in self.rows if name in row]


def wandb_sessions(directory: Path) -> list[Session]:
    """The sessions of a run, in their order."""
    return [_session(path) for path in sorted(directory.glob("wandb/offline-run-*/run-*.wandb"))]


def _session(path: Path) -> Session:
    found = Session("")
    for record in _records(path.read_bytes()):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            found.id, found.name, found.project, found.group = (
                run.run_id,
                run.display_name,
                run.project,
                run.run_group,
            )
            found.tags = list(run.tags)
        elif kind == "config":
            found.config |= {one.key: json.loads(one.value_json) for one in record.config.update if one.key}
        elif kind == "history":
            found.rows.append(
                {one.key or "/".join(one.nested_key): json.loads(one.value_json) for one in record.history.item}
            )
        elif kind == "summary":
            found.summary |= {
                one.key or "/".join(one.nested_key): json.loads(one.value_json) for one in record.summary.update
            }
        elif kind == "exit":
            found.exit_code = record.exit.exit_code
    return found


def _records(data: bytes) -> Iterator[Any]:
    """The messages of a file, which is in LevelDB's log format after a header of its own."""
    from wandb.proto import wandb_internal_pb2

    assert data[:4] == b":W&B"
    at, message = _HEADER, b""
    while at + _HEADER <= len(data):
        if (left := _BLOCK - at % _BLOCK) < _HEADER:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        if kind == 0 or at + _HEADER + length > len(data):  # a killed process leaves half a message
            return
        message += data[at + _HEADER : at + _HEADER + length]
        at += _HEADER + length
        if kind in (1, 4):  # whole, or its last part
            yield wandb_internal_pb2.Record.FromString(message)
            message = b""


def mlflow_client(outputs: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{outputs / 'mlflow.db'}")


def mlflow_runs(outputs: Path) -> list[Any]:
    client = mlflow_client(outputs)
    experiments = [one.experiment_id for one in client.search_experiments() if one.name == "tracking"]
    return sorted(client.search_runs(experiments), key=lambda run: run.info.start_time)


def mlflow_curve(outputs: Path, run_id: str, name: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in mlflow_client(outputs).get_metric_history(run_id, name)]
