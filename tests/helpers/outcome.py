"""All that must be equal between a run that was cut off and resumed, and the run that was not."""

import csv
import json
from pathlib import Path
from typing import Any

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def outcome(directory: Path) -> dict[str, Any]:
    """Weights, optimizer, schedules, metrics, best checkpoint, and every logged point."""
    checkpoint = torch.load(directory / "checkpoints" / "last.ckpt", weights_only=True)
    kept = (
        "state_dict",
        "optimizer_states",
        "lr_schedulers",
        "current_model_state",
        "means",
        "epoch",
        "global_step",
        "recorder",
    )
    del checkpoint["recorder"]["seconds"]  # no two runs share it
    record = json.loads((directory / "run.json").read_text())
    return {
        **{key: checkpoint[key] for key in kept if key in checkpoint},
        **{key: record[key] for key in ("metrics", "best")},
        "curves": {tag: points for tag, points in curves(directory).items() if not is_timed(tag)},
        "rows": [row for row in map(untimed, rows(directory)) if row.keys() != {"step"}],
    }


def is_timed(tag: str) -> bool:
    """Whether a curve tells of the clock and the machine, which no two runs share."""
    return tag == "samples_per_s" or tag.startswith("system/")


def untimed(row: dict[str, str]) -> dict[str, str]:
    return {tag: value for tag, value in row.items() if not is_timed(tag)}


def curves(directory: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(directory), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def rows(directory: Path) -> list[dict[str, str]]:
    path = directory / "metrics.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [{key: value for key, value in row.items() if value} for row in csv.DictReader(file)]


def differences(one: Any, other: Any, where: str = "") -> list[str]:
    """Where two outcomes differ; tensors bit for bit."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return [] if torch.equal(one, other) else [where]
    if isinstance(one, dict) and isinstance(other, dict):
        found = [f"{where}.{key} is missing" for key in one.keys() ^ other.keys()]
        return found + [
            d for key in one.keys() & other.keys() for d in differences(one[key], other[key], f"{where}.{key}")
        ]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        return [d for n, (a, b) in enumerate(zip(one, other, strict=True)) for d in differences(a, b, f"{where}[{n}]")]
    return [] if one == other else [f"{where}: {one} and {other}"]
