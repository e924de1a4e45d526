"""Flat settings of a run, and identification of its data set."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from src.paths import from_root
from src.records.record import Record

# Recorded elsewhere, or properties of the machine rather than of the training.
_NOT_SETTINGS = ("name", "tags", "resume", "data.dir")
# Groups of several objects: for a list of options Hydra records no choice.
_LISTS = ("callbacks", "logger")
# Settings of a data set that change neither its test samples nor the metrics on them.
_NOT_DATA = (
    *("_target_", "batch_size", "steps_per_execution", "train_size", "per_class", "val_size", "folds", "fold"),
    *("mean", "std", "augment", "transforms", "num_workers"),
)
# Settings in which replicates of a training differ.
REPLICATES = ("seed", "data.fold")
# Groups whose options set values in other groups.
_SPANNING = ("experiment", "debug", "sweep")
# Settings with defaults that depend on the task; mode also depends on the monitor.
_OF_THE_TASK = ("monitor", "mode")
# Settings that are paths, relative to the project's root.
DATA_PATHS = ("dir", "path", "test_path")


def settings_of(record: Record, names: Collection[str] | None = None) -> dict[str, Any]:
    """The settings of a run by dotted name, and the choice of each group (``optimizer: adam``).

    Args:
        record: the run.
        names: the settings to look up, in a fraction of the time that all take; by default all.
    """
    if names is not None:
        found = _settings_of(record, containing(names, record.values["config"]))
        return {name: found[name] for name in names if name in found}
    return _settings_of(record, record.values["config"])


def _settings_of(record: Record, config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in a part of a run's configuration; others may be missing or have their defaults."""
    if record.is_imported:
        return {key: value for key, value in _by_class(config).items() if key not in ("monitor", "mode")}
    run = record.values
    choices = {
        group: choice for group, choice in run.get("choices", {}).items() if choice not in (None, "custom")
    }  # for an object configured by its class, the name of the class
    lists = [group for group in _LISTS if run["config"].get(group) and group not in choices]
    choices |= {group: record.typed.get(group, list(run["config"][group])) for group in lists}
    return flat_settings(config, choices)


def own_settings(record: Record) -> dict[str, Any]:
    """The settings of a run by dotted name, without the choices; those of an imported run have any names and values."""
    return settings_of(record) if record.is_imported else flat_settings(record.values["config"])


def containing(names: Collection[str], config: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a configuration that contain these settings, and the monitor, which decides about those of callbacks."""
    split = [name.split(".") for name in names]
    heads = {".".join(parts[:count]) for parts in split for count in range(1, len(parts) + 1)}
    return {key: value for key, value in config.items() if key == "monitor" or key in heads}


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """All values of a nested configuration by dotted name."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        flat |= flatten(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return flat


def _by_class(config: Mapping[str, Any]) -> dict[str, Any]:
    """All values of a configuration by dotted name, with the name of the class for each object."""
    flat = {}
    for key, value in flatten(config).items():
        name = key.removesuffix("._target_")
        flat[name] = value if name == key else str(value).rpartition(".")[2]
    return flat


def flat_settings(config: Mapping[str, Any], choices: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """All settings of a configuration by dotted name; ``choices`` are the options chosen for the groups."""

    def is_repeated(key: str, value: Any) -> bool:
        # A callback usually has the monitor and the mode of the run.
        last = key.rpartition(".")[2] if key.startswith("callbacks.") else ""
        return last == "mode" or (last == "monitor" and value in (None, config.get("monitor")))

    flat = _by_class(config)
    if init_from := config.get("init_from"):
        flat = {key: value for key, value in flat.items() if not key.startswith("init_from.")}
        flat["init_from"] = (
            f"{init_from['run'] or init_from['path']}{'' if init_from['strict'] else ', where names match'}"
        )
    # Not recorded by earlier versions.
    flat = {"init_from": None, "freeze": [], "trainer.threads": "auto"} | flat
    flat |= choices or {}
    return {key: value for key, value in flat.items() if key not in _NOT_SETTINGS and not is_repeated(key, value)}


def data_of(record: Record) -> str:
    """Identify the data set of a run's metrics, by its class and the settings that determine the samples.

    For an imported run, whose data is not known, by its experiment.
    """
    if record.is_imported:
        return "{experiment} in {from}".format(**record.values["imported"])
    data = record.values["config"].get("data")
    if not isinstance(data, Mapping):
        return "unknown data"
    target = str(data.get("_target_"))
    decisive = {key: value for key, value in data.items() if key not in _NOT_DATA}
    if target.startswith("src.data.mnist."):
        decisive.pop("dir", None)  # only the location of the archives
        if decisive.get("only_classes") is None:
            decisive.pop("only_classes", None)  # not recorded by earlier versions
    for key in DATA_PATHS:
        if decisive.get(key) is not None:
            decisive[key] = str(from_root(str(decisive[key])))
    return " ".join([target.rpartition(".")[2], *(f"{key}={as_word(value)}" for key, value in decisive.items())])


def comparable(records: Sequence[Record]) -> list[Record]:
    """The runs on the same data set as the latest of them, since metrics on different data cannot be compared."""
    data = data_of(max(records, key=lambda record: str(record.values["started"])))
    return [record for record in records if data_of(record) == data]


def as_word(value: Any) -> str:
    """Format a value as on the command line."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"))


def short_names(names: Collection[str]) -> list[str]:
    """The last component of each dotted name, if it is unique among them, else the full name."""
    last = [name.rpartition(".")[2] for name in names]
    return [end if last.count(end) == 1 else name for name, end in zip(names, last, strict=True)]


def differing_names(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of settings with at least two different values, in the order of their first occurrence.

    A setting that only some runs have is included, unless it is null or belongs to a group that differs: ``optimizer.betas``,
    which only Adam has, belongs to ``optimizer``.
    """
    names = dict.fromkeys(name for one in settings for name in one)
    values = {name: {as_word(one[name]) for one in settings if name in one} for name in names}
    varied = {name for name in names if len(values[name]) > 1}
    partial = {name for name in names if values[name] != {"null"} and not all(name in one for one in settings)}
    return [name for name in names if name in varied or (name in partial and not _belongs(name, varied | partial))]


def shown_names(records: Sequence[Record]) -> list[str]:
    """The names of the settings to show in a table of these runs: those that differ, without values implied by a choice.

    A value is implied if it was not typed for any of the runs, and all runs with the same choices have the same: the learning
    rates of Adam and of SGD differ, but follow from ``optimizer``. For a single run the typed settings.
    """
    found = [settings_of(record) for record in records]
    typed = {key for record in records for key in record.typed}
    groups = {group for record in records for group in record.values.get("choices", {})}
    if len(found) == 1:
        return [name for name in found[0] if _is_typed(name, typed, groups)]
    varied = differing_names(found)

    def is_implied(name: str) -> bool:
        if _is_typed(name, typed, groups):
            return False
        implying = [one for one in varied if one != name and _implies(one, name)]
        values: dict[tuple[str, ...], set[str]] = {}
        for one in found:
            if name in one:
                key = tuple(as_word(one.get(other)) for other in implying)
                values.setdefault(key, set()).add(as_word(one[name]))
        return bool(implying) and all(len(words) == 1 for words in values.values())

    return [name for name in varied if not is_implied(name)]


def _is_typed(name: str, typed: Collection[str], groups: Collection[str]) -> bool:
    """Whether a setting, or a part of the configuration that contains it, was typed; the choice of a group does not count."""
    parts = name.split(".")
    above = {".".join(parts[:count]) for count in range(1, len(parts))} - set(groups)
    return name in typed or bool(above & set(typed))


def _implies(choice: str, name: str) -> bool:
    """Whether a setting may follow from a choice: of its own group, or of one that spans groups."""
    return (
        name.startswith(f"{choice}.") or choice in _SPANNING or (name in _OF_THE_TASK and choice in ("task", "monitor"))
    )


def _belongs(name: str, groups: Collection[str]) -> bool:
    """Whether a setting belongs to one of these groups or objects."""
    parts = name.split(".")
    return any(".".join(parts[:count]) in groups for count in range(1, len(parts)))
