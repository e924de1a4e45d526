"""A record as flat values: what a run was set to and what it reached."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from src.tracking.record import Record

# Said elsewhere, or true of the machine rather than of the training.
_NOT_SETTINGS = ("name", "tags", "resume", "data.dir")


def settings_of(record: Record) -> dict[str, Any]:
    """Every setting by its dotted name, each group by the name of its choice (``optimizer: adam``)."""
    run = record.values
    choices = {group: choice for group, choice in run.get("choices", {}).items() if choice is not None}
    return {key: value for key, value in (_flat(run["config"]) | choices).items() if key not in _NOT_SETTINGS}


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if key == "_target_":
            flat[prefix[:-1]] = str(value).rpartition(".")[2]
        elif isinstance(value, Mapping):
            flat |= _flat(value, f"{name}.")
        else:
            flat[name] = value
    return flat


def metrics_of(record: Record) -> dict[str, float]:
    """The metrics, the monitored one as the best checkpoint has it: it is those weights that are kept and tested."""
    run = record.values
    found = {name: value for name, value in run["metrics"].items() if value is not None}
    if run["best"]["value"] is not None:
        found[run["best"]["metric"]] = run["best"]["value"]
    return found


def as_word(value: Any) -> str:
    """A value as it would be written on a command line."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"))


def differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names with two values or more among these, in the order in which they first come.

    What only some have, since it belongs to another choice of a group, is said by that choice.
    """
    names = dict.fromkeys(name for one in settings for name in one)
    return [name for name in names if len({as_word(one[name]) for one in settings if name in one}) > 1]
