"""The settings of a run as flat values, and the data set it was measured on."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from src.paths import from_root
from src.records.record import Record

# Recorded elsewhere, or properties of the machine rather than of the training.
_NOT_SETTINGS = ("name", "tags", "resume", "data.dir")
# Groups of several objects: Hydra knows no choice where a list of files was chosen.
_LISTS = ("callbacks", "logger")
# Settings of a data set that change neither what its test samples are nor what is measured on them.
_NOT_DATA = (
    *("_target_", "batch_size", "steps_per_execution", "train_size", "val_size", "folds", "fold", "mean", "std"),
    *("augment", "transforms", "num_workers"),
)
# Settings in which replicates of a training differ.
REPLICATES = ("seed", "data.fold")
# Settings that are paths, relative to the project's root.
DATA_PATHS = ("dir", "path", "test_path")


def settings_of(record: Record) -> dict[str, Any]:
    """Every setting by its dotted name, each group by the name of its choice (``optimizer: adam``)."""
    run = record.values
    choices = {
        group: choice for group, choice in run.get("choices", {}).items() if choice not in (None, "custom")
    }  # of what is named by its class, the class is shown
    lists = [group for group in _LISTS if run["config"].get(group) and group not in choices]
    choices |= {group: record.typed.get(group, list(run["config"][group])) for group in lists}
    return flat_settings(run["config"], choices)


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Every value of a nested configuration by its dotted name."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        flat |= flatten(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return flat


def flat_settings(config: Mapping[str, Any], choices: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Every setting of a configuration by its dotted name; ``choices`` are the names of the groups' choices."""

    def is_repeated(key: str, value: Any) -> bool:
        # A callback's monitor is usually the run's, and its mode follows from it.
        last = key.rpartition(".")[2] if key.startswith("callbacks.") else ""
        return last == "mode" or (last == "monitor" and value in (None, config.get("monitor")))

    flat = {}
    for key, value in flatten(config).items():
        name = key.removesuffix("._target_")
        flat[name] = value if name == key else str(value).rpartition(".")[2]
    if init_from := config.get("init_from"):
        flat = {key: value for key, value in flat.items() if not key.startswith("init_from.")}
        flat["init_from"] = (
            f"{init_from['run'] or init_from['path']}{'' if init_from['strict'] else ', where names match'}"
        )
    # Which runs of earlier versions did not record.
    flat = {"init_from": None, "freeze": [], "trainer.threads": "auto"} | flat
    flat |= choices or {}
    return {key: value for key, value in flat.items() if key not in _NOT_SETTINGS and not is_repeated(key, value)}


def data_of(record: Record) -> str:
    """The data set that a run's metrics were measured on, its class with what else decides the samples."""
    data = record.values["config"].get("data")
    if not isinstance(data, Mapping):
        return "unknown data"
    target = str(data.get("_target_"))
    decisive = {key: value for key, value in data.items() if key not in _NOT_DATA}
    if target.startswith("src.data.mnist."):
        decisive.pop("dir", None)  # only where the archives lie
    for key in DATA_PATHS:
        if decisive.get(key) is not None:
            decisive[key] = str(from_root(str(decisive[key])))
    return " ".join([target.rpartition(".")[2], *(f"{key}={as_word(value)}" for key, value in decisive.items())])


def comparable(records: Sequence[Record]) -> list[Record]:
    """Those of these on the data set of the latest among them: of metrics on different data none is better."""
    data = data_of(max(records, key=lambda record: str(record.values["started"])))
    return [record for record in records if data_of(record) == data]


def as_word(value: Any) -> str:
    """A value formatted as on the command line."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"))


def short_names(names: Collection[str]) -> list[str]:
    """The last part of each setting's name, where that is enough to tell them apart."""
    last = [name.rpartition(".")[2] for name in names]
    return [end if last.count(end) == 1 else name for name, end in zip(names, last, strict=True)]


def differing_names(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names with two values or more among these, in the order in which they first come.

    A setting that only some have is among them, unless it is null or belongs to what differs already: ``optimizer.betas``,
    which only Adam has, to ``optimizer``.
    """
    names = dict.fromkeys(name for one in settings for name in one)
    values = {name: {as_word(one[name]) for one in settings if name in one} for name in names}
    varied = {name for name in names if len(values[name]) > 1}
    partial = {name for name in names if values[name] != {"null"} and not all(name in one for one in settings)}
    return [name for name in names if name in varied or (name in partial and not _belongs(name, varied | partial))]


def _belongs(name: str, groups: Collection[str]) -> bool:
    """Whether a setting is one of an object or group among these."""
    parts = name.split(".")
    return any(".".join(parts[:count]) in groups for count in range(1, len(parts)))
