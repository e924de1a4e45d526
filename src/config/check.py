"""Validation of a composed configuration before anything starts, with one message per error."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from src.config import schemas
from src.config.targets import (
    GROUPS,
    MANY,
    MAY_BE_SET,
    NESTED,
    ONE,
    OWN_OF_TRAINER,
    OWNED_BY_TRAINING,
    PARTIAL,
    TAKEN_BY,
)
from src.config.validate import as_yaml, converted, problems
from src.errors import ConfigError, suggest_key
from src.records.metrics import mode_of

_EARLY_STOPPING = "lightning.pytorch.callbacks.EarlyStopping"
# Settings that resuming and other commands require of the checkpoint callbacks named best and last.
_OF_CHECKPOINTS: dict[str, tuple[Any, str]] = {
    "dirpath": (None, "other commands look for checkpoints in the run's directory"),
    "save_weights_only": (False, "a run is resumed from its whole state"),
    "save_on_train_epoch_end": (True, "a run is resumed from the end of an epoch"),
    "save_on_exception": (False, "a checkpoint within an epoch would take the place of the one at its end"),
    "every_n_train_steps": (None, "a checkpoint within an epoch would take the place of the one at its end"),
}


def check(config: Mapping[str, Any], typed: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Validate a composed, resolved configuration.

    Args:
        config: nested plain dicts, lists and values, including every group.
        typed: values as typed on the command line, by dotted key; 12e4567, for example, is parsed as infinity.

    Returns:
        The settings, converted to their declared types (an integer to a float if the setting is a float). Defaults are filled
        in only for the trainer and the settings outside the groups.

    Raises:
        ConfigError: the configuration is invalid; the message has one line per error.
    """
    if isinstance(monitor := config.get("monitor"), str) and config.get("mode", "") is None:  # callbacks refer to both
        raise ConfigError(
            f"monitor={monitor}: its name does not say whether it should fall or rise: set mode=min or mode=max."
        )
    found: list[str] = []
    run = schemas.of_group("config")["run"]
    known = {*GROUPS, *run["properties"]}
    everywhere = {*known, *_dotted({key: value for key, value in config.items() if key in known})}

    def node(values: object, group: str, prefix: str) -> Any:
        if not isinstance(values, Mapping) or "_target_" not in values:
            found.append(f"{prefix}={as_yaml(values)} must name an object in {prefix}._target_.")
            return values
        try:
            schema = schemas.schema_of(target := values["_target_"], group)
            decided = [name for name in schema[schemas.SUPPLIED] if name in values and group not in MAY_BE_SET]
            omitted = [*schema[schemas.SUPPLIED], *([PARTIAL] if group == NESTED else [])]
            settings = {name: value for name, value in values.items() if name not in omitted}
            left_out = (
                ("required",) if group == NESTED and values.get(PARTIAL) else ()
            )  # the caller passes the remaining arguments
            wrong = problems(_without(schema, left_out), settings, prefix, everywhere, typed)
            if wrong and (current := schemas.renewed(target, group, schema)):
                schema, wrong = current, problems(_without(current, left_out), settings, prefix, everywhere, typed)
        except ConfigError as error:
            found.append(str(error).replace(f"{group}.", f"{prefix}.", 1))
            return values
        found.extend(f"{prefix}.{name} cannot be set: the program decides it." for name in decided)
        if group == NESTED and not isinstance(partial := values.get(PARTIAL, False), bool):
            found.append(f"{prefix}.{PARTIAL}={as_yaml(partial)} must be true or false.")
        found.extend(wrong)
        checked = {name: nested(value, f"{prefix}.{name}") for name, value in values.items()}
        return checked if wrong else converted(checked, schema)

    def nested(value: Any, prefix: str) -> Any:
        """A value whose nested objects have been checked like those of the groups."""
        if isinstance(value, Mapping):
            if "_target_" in value:
                return node(value, NESTED, prefix)
            return {name: nested(one, f"{prefix}.{name}") for name, one in value.items()}
        return [nested(one, f"{prefix}[{at}]") for at, one in enumerate(value)] if isinstance(value, list) else value

    def plain(values: object, schema: Mapping[str, Any], prefix: str, filled: Collection[str]) -> Any:
        if not isinstance(values, Mapping):
            found.append(f"{prefix}={as_yaml(values)} must be a group of settings.")
            return values
        found.extend(wrong := problems(schema, values, prefix, everywhere, typed))
        defaults = {name: schema["properties"][name]["default"] for name in filled}
        return values if wrong else converted({**defaults, **values}, schema)

    trainer = config.get("trainer")
    if isinstance(trainer, Mapping):
        found += [
            f"trainer.{name} cannot be set: {OWNED_BY_TRAINING[name]}." for name in trainer if name in OWNED_BY_TRAINING
        ]
        trainer = {name: value for name, value in trainer.items() if name not in OWNED_BY_TRAINING}
    found += [
        f"{key}: there is no such setting or group{_package_hint(key) or suggest_key(key, everywhere)}"
        for key in config
        if key not in known
    ]
    defaults = [name for name, schema in run["properties"].items() if "default" in schema]
    checked = dict(plain({key: value for key, value in config.items() if key in run["properties"]}, run, "", defaults))
    checked["task"] = node(config.get("task"), "task", "task")
    for group in ONE:
        if group != "task":
            # null: the task does not take the group, or does not need it; if it does, its constructor raises.
            is_left_out = (group == "data" or group in TAKEN_BY) and group in config and config[group] is None
            checked[group] = None if is_left_out else node(config.get(group), group, group)
    schema = schemas.of_group("trainer")["trainer"]
    checked["trainer"] = plain(trainer, schema, "trainer", OWN_OF_TRAINER)
    for group in MANY:
        members = config.get(group) or {}
        if not isinstance(members, Mapping):
            found.append(f"{group}={as_yaml(members)} must be a group of named objects.")
            continue
        checked[group] = {name: node(member, group, f"{group}.{name}") for name, member in members.items()}

    found.extend([*_clashes(checked), *_fold_clashes(checked["data"], typed or {})] if not found else ())
    if found:
        raise ConfigError("\n".join(found))
    return checked


def _without(schema: Mapping[str, Any], keys: Collection[str]) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key not in keys}


def takes(task: Mapping[str, Any], group: str) -> bool:
    """Whether a task takes the object of a group: a network, an optimizer or a schedule.

    Raises:
        ConfigError: see ``schemas.schema_of``.
    """
    supplied = schemas.schema_of(task["_target_"], "task")[schemas.SUPPLIED]
    return group not in TAKEN_BY or any(name in supplied for name in TAKEN_BY[group])


def _dotted(config: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Every dotted key of nested dicts."""
    for key, value in config.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{prefix}{key}.")


def _package_hint(key: str) -> str:
    """Hint for an experiment file without ``@package _global_``, whose settings are composed below ``experiment``."""
    return (
        "; the file in conf/experiment/ must begin with the line '# @package _global_'" if key == "experiment" else ""
    )


def _clashes(config: Mapping[str, Any]) -> Iterator[str]:
    """Messages for settings of several objects that are valid individually but not in combination."""
    monitor, mode, trainer = config["monitor"], config["mode"], config["trainer"]
    yield from _monitor_clashes(config)
    if not monitor and mode == "min":
        yield "mode=min says which way monitor is better, and there is no monitor: leave mode out."
    yield from _checkpoint_clashes(config["callbacks"])
    batch_size = schemas.default_of(config["data"], "data", "batch_size")
    is_global = schemas.default_of(config["data"], "data", "steps_per_execution") is not None  # of a TensorData
    if is_global and trainer["devices"] != "auto":
        devices = trainer["devices"] * trainer["num_nodes"]
        if batch_size < devices:
            yield (
                f"data.batch_size={batch_size} is shared by all devices and must be at least their number, {devices} "
                f"(trainer.devices={trainer['devices']}, trainer.num_nodes={trainer['num_nodes']})."
            )


def logged_metrics(config: Mapping[str, Any]) -> list[str] | None:
    """The metrics of training and validation that the task of a configuration logs; None if it does not declare them."""
    modes = schemas.schema_of(config["task"]["_target_"], "task").get(schemas.METRICS)
    if modes is None:
        return None
    chosen = schemas.default_of(config["task"], "task", "metrics")
    stages = (("val", [*modes] if chosen is None else ["loss", *chosen]), ("train", {"loss", "acc"} & {*modes}))
    return [f"{stage}/{name}" for stage, names in stages for name in names]


def _monitor_clashes(config: Mapping[str, Any]) -> Iterator[str]:
    """Messages for monitored metrics that the task does not log, or whose mode would select the worst value.

    Skipped for a task that does not declare its metrics, which are unknown until it logs them.
    """
    if (known := logged_metrics(config)) is None:
        return
    modes = schemas.schema_of(config["task"]["_target_"], "task")[schemas.METRICS]
    uses = [("monitor", config["monitor"], config["mode"], "mode")]
    if config["schedule"]:
        uses.append(("schedule.monitor", config["schedule"].get("monitor"), None, ""))
    for name, node in config["callbacks"].items():
        monitored, mode = (schemas.default_of(node, "callbacks", key) for key in ("monitor", "mode"))
        if node["_target_"] == _EARLY_STOPPING and monitored in known and monitored.startswith("train/"):
            yield f"callbacks.{name}.monitor={monitored} is logged after the callback has looked at it: set one of val/."
        elif (monitored, mode) != (config["monitor"], config["mode"]):
            uses.append((f"callbacks.{name}.monitor", monitored, mode, f"callbacks.{name}.mode"))
    for key, metric, mode, key_of_mode in uses:
        if not isinstance(metric, str):
            continue
        name = metric.rpartition("/")[2]
        if metric not in known:
            remedy = f"set task.metrics to include {name}, or" if name in modes and metric.startswith("val/") else "set"
            yield f"{key}={metric}: the task logs {', '.join(known)}: {remedy} {key} to one of these."
        elif not holds_out(config) and metric.startswith("val/"):
            other = f"train/{name}" if f"train/{name}" in known else "train/loss"
            yield (
                f"{key}={metric} needs validation data, and data.val_size=0 holds none out: set data.val_size=5000, or "
                f"{key}={other}."
            )
        elif mode and mode != (right := modes.get(name) or mode_of(metric)):
            yield f"{key_of_mode}={mode} would take the worst {metric} for the best: leave it out, or set {key_of_mode}={right}."


def _fold_clashes(data: Mapping[str, Any] | None, typed: Mapping[str, str]) -> Iterator[str]:
    """Message for a ``val_size`` on the command line that cross-validation would ignore."""
    if data and _has_folds(data) and "data.val_size" in typed:
        yield (
            f"data.val_size={typed['data.val_size']} is not used with data.folds={data['folds']}, of which one fold is held out "
            "for validation: leave one of the two out."
        )


def holds_out(config: Mapping[str, Any]) -> bool:
    """Whether a configuration has validation data, as far as the settings of its data determine it."""
    return schemas.default_of(config["data"], "data", "val_size") != 0 or _has_folds(config["data"])


def _has_folds(data: Mapping[str, Any]) -> bool:
    return bool(schemas.default_of(data, "data", "folds"))


def _checkpoint_clashes(callbacks: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Messages for checkpoint settings with which best.ckpt or last.ckpt would not be the checkpoint that other commands expect."""
    checkpoints = {
        name: {key: node.get(key, one.get("default")) for key, one in properties.items()}
        for name, node in callbacks.items()
        if "save_top_k" in (properties := schemas.schema_of(node["_target_"], "callbacks")["properties"])
    }
    for name, settings in checkpoints.items():
        kept = settings["save_top_k"]
        if settings["save_last"]:
            yield f"callbacks.{name}.save_last: last.ckpt is written by callbacks.last; leave it out."
        if kept == 0:
            yield f"callbacks.{name}.save_top_k=0 saves nothing: leave the callback out, by ~callbacks.{name}."
        if name not in ("best", "last"):
            continue
        if (filename := settings["filename"]) != name:
            yield f"callbacks.{name}.filename={filename!r} must stay {name!r}, the name by which other commands find it."
        for key, (allowed, reason) in _OF_CHECKPOINTS.items():
            if settings[key] != allowed:
                yield f"callbacks.{name}.{key}={as_yaml(settings[key])} must be {as_yaml(allowed)}: {reason}."
        if kept not in (0, 1) and name == "last":
            yield f"callbacks.last.save_top_k={kept} must be 1: last.ckpt is one file."
        elif kept not in (0, 1) and not settings["enable_version_counter"]:
            yield (
                f"callbacks.{name}.save_top_k={kept} would write all checkpoints into one file: set "
                f"callbacks.{name}.enable_version_counter=true."
            )
    names = [settings["filename"] for settings in checkpoints.values() if settings["filename"]]
    if doubled := {name for name in names if names.count(name) > 1}:
        yield f"callbacks: {', '.join(sorted(doubled))}.ckpt would be written by two of them; give each its own filename."
