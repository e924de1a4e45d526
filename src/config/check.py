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
    "every_n_train_steps": (None, "a checkpoint within an epoch would take the place of the one at its end"),
}


def check(config: Mapping[str, Any], typed: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Check a composed, resolved configuration.

    Args:
        config: nested plain dicts, lists and values, every group included.
        typed: values as they were typed, by dotted key, where that is known: 12e4567 is read as infinity.

    Returns:
        The same settings, each in its own type (an integer where a float is meant becomes one). Defaults are filled in for
        the trainer and the settings outside the groups only.

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
    monitor, mode, trainer = config["monitor"], config["mode"], config["trainer"]
    val_size = schemas.default_of(config["data"], "data", "val_size")
    if monitor and _is_wrong(monitor, mode):
        yield f"mode={mode} would keep the worst {monitor}: leave mode out, or set it the other way."
    if not monitor and mode == "min":
        yield "mode=min says which way monitor is better, and there is no monitor: leave mode out."
    monitors = {"monitor": monitor, "schedule.monitor": config["schedule"].get("monitor")}
    for name, node in config["callbacks"].items():
        monitored, direction = (schemas.default_of(node, "callbacks", key) for key in ("monitor", "mode"))
        if monitored != monitor:
            monitors[f"callbacks.{name}.monitor"] = monitored
        if (monitored, direction) != (monitor, mode) and isinstance(monitored, str) and _is_wrong(monitored, direction):
            other = "max" if direction == "min" else "min"
            yield (
                f"callbacks.{name}.mode={direction} would take the worst {monitored} for the best: set "
                f"callbacks.{name}.mode={other}."
            )
    for key, metric in monitors.items():
        if val_size == 0 and isinstance(metric, str) and metric.startswith("val/"):
            yield (
                f"{key}={metric} needs validation data, and data.val_size=0 holds none out: set data.val_size=5000, or "
                f"{key}=train/{metric.removeprefix('val/')}."
            )
    yield from _checkpoint_clashes(config["callbacks"])
    batch_size = schemas.default_of(config["data"], "data", "batch_size")
    if trainer["devices"] != "auto" and batch_size is not None:
        devices = trainer["devices"] * trainer["num_nodes"]
        if batch_size < devices:
            yield (
                f"data.batch_size={batch_size} is shared by all devices and must be at least their number, {devices} "
                f"(trainer.devices={trainer['devices']}, trainer.num_nodes={trainer['num_nodes']})."
            )


def _is_wrong(metric: str, mode: object) -> bool:
    """Whether a mode takes the worst value of a metric for the best."""
    return mode in ("min", "max") and (mode == "min") != metric.endswith("/loss")


def _checkpoint_clashes(callbacks: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Settings with which best.ckpt and last.ckpt would not be what other commands take them for."""
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
