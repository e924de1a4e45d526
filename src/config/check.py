"""Check a whole configuration before anything starts, with one message for each thing that is wrong."""

from collections.abc import Iterator, Mapping
from typing import Any

from src.config import schemas
from src.config.targets import GROUPS, MANY, ONE, SUPPLIED
from src.config.validate import as_yaml, converted, problems
from src.errors import ConfigError, suggest_key

# What other commands, and a resumed run, require of the checkpoint callbacks named best and last.
_OF_CHECKPOINTS: dict[str, tuple[Any, str]] = {
    "dirpath": (None, "other commands look for checkpoints in the run's directory"),
    "save_weights_only": (False, "a run is resumed from its whole state"),
    "save_on_train_epoch_end": (True, "a run is resumed from the end of an epoch"),
    "save_on_exception": (False, "a checkpoint within an epoch would take the place of the one at its end"),
}


def check(config: Mapping[str, Any], typed: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Check a composed, resolved configuration.

    Args:
        config: nested plain dicts, lists and values, every group included.
        typed: values as they were typed, by dotted key, where that is known: 12e4567 is read as infinity.

    Returns:
        The same settings, each in its own type (an integer where a float is meant becomes one). Of the trainer and of the
        settings outside the groups those that are left out have their defaults.

    Raises:
        ConfigError: one line for each thing that is wrong.
    """
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
            settings = {name: value for name, value in values.items() if name not in SUPPLIED[group]}
            wrong = problems(schema, settings, prefix, everywhere, typed)
            if wrong and (current := schemas.renewed(target, group, schema)):
                schema, wrong = current, problems(current, settings, prefix, everywhere, typed)
        except ConfigError as error:
            found.append(str(error).replace(f"{group}.", f"{prefix}.", 1))
            return values
        found.extend(
            f"{prefix}.{name} cannot be set: the program decides it." for name in values if name not in settings
        )
        found.extend(wrong)
        return values if wrong else converted(settings, schema)

    def plain(values: object, schema: Mapping[str, Any], prefix: str) -> Any:
        if not isinstance(values, Mapping):
            found.append(f"{prefix}={as_yaml(values)} must be a group of settings.")
            return values
        found.extend(wrong := problems(schema, values, prefix, everywhere, typed))
        defaults = {key: one["default"] for key, one in schema["properties"].items() if "default" in one}
        return values if wrong else converted({**defaults, **values}, schema)

    found += [
        f"{key}: there is no such setting or group{_package_hint(key) or suggest_key(key, everywhere)}"
        for key in config
        if key not in known
    ]
    checked = dict(plain({key: value for key, value in config.items() if key in run["properties"]}, run, ""))
    for group in ONE:
        checked[group] = node(config.get(group), group, group)
    checked["trainer"] = plain(config.get("trainer"), schemas.of_group("trainer")["trainer"], "trainer")
    for group in MANY:
        members = config.get(group) or {}
        if not isinstance(members, Mapping):
            found.append(f"{group}={as_yaml(members)} must be a group of named objects.")
            continue
        checked[group] = {name: node(member, group, f"{group}.{name}") for name, member in members.items()}

    found.extend(_clashes(checked) if not found else ())
    if found:
        raise ConfigError("\n".join(found))
    return checked


def _dotted(config: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Every dotted key of nested dicts."""
    for key, value in config.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{prefix}{key}.")


def _package_hint(key: str) -> str:
    """Where a whole experiment has landed under its group's name instead of at the top."""
    return (
        "; the file in conf/experiment/ must begin with the line '# @package _global_'" if key == "experiment" else ""
    )


def _clashes(config: Mapping[str, Any]) -> Iterator[str]:
    """Settings of several objects that are right each by itself and wrong together."""
    monitor, val_size = config["monitor"], schemas.default_of(config["data"], "data", "val_size")
    if monitor and monitor.startswith("val/") and val_size == 0:
        yield (
            f"monitor={monitor} needs validation data, and data.val_size=0 holds none out: "
            "set data.val_size=5000, or leave monitor out."
        )
    if monitor and (config["mode"] == "min") != monitor.endswith("/loss"):
        yield f"mode={config['mode']} would keep the worst {monitor}: leave mode out, or set it the other way."
    if not monitor and config["mode"] == "min":
        yield "mode=min says which way monitor is better, and there is no monitor: leave mode out."
    yield from _checkpoint_clashes(config["callbacks"])
    monitored = config["schedule"].get("monitor")
    if isinstance(monitored, str) and monitored.startswith("val/") and val_size == 0:
        yield (
            f"schedule.monitor={monitored} needs validation data, and data.val_size=0 holds none out: set "
            "schedule.monitor=train/loss."
        )
    devices, batch_size = config["trainer"]["devices"], schemas.default_of(config["data"], "data", "batch_size")
    if devices != "auto" and batch_size is not None and batch_size < devices * config["trainer"]["num_nodes"]:
        yield (
            f"data.batch_size={batch_size} is shared by all devices and must be at least their number, "
            f"trainer.devices={devices}."
        )
    epochs = config["trainer"]["max_epochs"]
    for name, node in config["callbacks"].items():
        if (end := node.get("end_epoch", 0)) > epochs:
            yield f"callbacks.{name}.end_epoch={end:g} must be at most trainer.max_epochs={epochs}."


def _checkpoint_clashes(callbacks: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Settings with which best.ckpt and last.ckpt would not be what other commands take them for."""

    def value(name: str, key: str) -> Any:
        return schemas.default_of(callbacks[name], "callbacks", key)

    for name in callbacks:
        monitor, mode = value(name, "monitor"), value(name, "mode")
        if isinstance(monitor, str) and mode in ("min", "max") and (mode == "min") != monitor.endswith("/loss"):
            yield (
                f"callbacks.{name}.mode={mode} would take the worst {monitor} for the best: set callbacks.{name}.mode="
                f"{'max' if mode == 'min' else 'min'}."
            )
        if value(name, "save_last"):
            yield f"callbacks.{name}.save_last: last.ckpt is written by callbacks.last; leave it out."
        if value(name, "save_top_k") == 0:
            yield f"callbacks.{name}.save_top_k=0 saves nothing: leave the callback out, by ~callbacks.{name}."
    for name in ("best", "last"):
        if name not in callbacks or not value(name, "save_top_k"):
            continue
        if (filename := value(name, "filename")) != name:
            yield f"callbacks.{name}.filename={filename!r} must stay {name!r}, the name by which other commands find it."
        for key, (allowed, reason) in _OF_CHECKPOINTS.items():
            if (one := value(name, key)) != allowed:
                yield f"callbacks.{name}.{key}={as_yaml(one)} must be {as_yaml(allowed)}: {reason}."
        kept = value(name, "save_top_k")
        if kept != 1 and name == "last":
            yield f"callbacks.last.save_top_k={kept} must be 1: last.ckpt is one file."
        elif kept != 1 and not value(name, "enable_version_counter"):
            yield (
                f"callbacks.{name}.save_top_k={kept} would write all checkpoints into one file: set "
                f"callbacks.{name}.enable_version_counter=true."
            )
    names = [filename for name in callbacks if (filename := value(name, "filename"))]
    if doubled := {name for name in names if names.count(name) > 1}:
        yield f"callbacks: {', '.join(sorted(doubled))}.ckpt would be written by two of them; give each its own filename."
