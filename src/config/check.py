"""Check a whole configuration before anything starts, and say what is wrong in sentences."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from src.config.schema import GROUPS, KNOWN, MANY, ONE, Node, OfTheUser, Run, Settings, Trainer
from src.config.targets import check_name
from src.errors import ConfigError, renamed, suggest, suggest_key


def check(config: Mapping[str, Any], typed: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Check a composed, resolved configuration.

    Args:
        config: nested plain dicts, lists and values, every group included.
        typed: values as they were typed, by dotted key, where that is known: 12e4567 is read as infinity.

    Returns:
        The same settings, each in its own type (an integer where a fraction is meant becomes one).

    Raises:
        ConfigError: one line for each thing that is wrong.
    """
    problems: list[str] = []
    known = {*GROUPS, *Run.model_fields}
    everywhere = {*known, *_dotted({key: value for key, value in config.items() if key in known})}

    def part(schema: type[Settings], values: object, prefix: str) -> Any:
        if not isinstance(values, Mapping):
            problems.append(f"{prefix}={_as_yaml(values)} must be a group of settings.")
            return values
        try:
            return schema.model_validate(values).model_dump(by_alias=True)
        except ValidationError as error:
            problems.extend(sentences(error.errors(), prefix, values, _names(schema), everywhere, typed))

    def node(values: object, group: str, prefix: str, otherwise: type[Node]) -> Any:
        if not isinstance(values, Mapping) or "_target_" not in values:
            problems.append(f"{prefix}={_as_yaml(values)} must name an object in {prefix}._target_.")
            return values
        try:
            target = check_name(values["_target_"], group)
        except ConfigError as error:
            problems.append(str(error).replace(f"{group}.", f"{prefix}.", 1))
            return values
        return part(KNOWN.get(target, otherwise), values, prefix)

    checked: dict[str, Any] = {}
    strangers = [key for key in config if key not in known]
    problems.extend(
        f"{key}: there is no such setting or group{_package_hint(key) or suggest_key(key, everywhere)}"
        for key in strangers
    )
    checked |= part(Run, {key: value for key, value in config.items() if key in Run.model_fields}, "") or {}
    for group, otherwise in ONE.items():
        checked[group] = node(config.get(group), group, group, otherwise)
    checked["trainer"] = part(Trainer, config.get("trainer"), "trainer")
    for group in MANY:
        members = config.get(group) or {}
        if not isinstance(members, Mapping):
            problems.append(f"{group}={_as_yaml(members)} must be a group of named objects.")
            continue
        checked[group] = {name: node(member, group, f"{group}.{name}", OfTheUser) for name, member in members.items()}

    problems.extend(_clashes(checked) if not problems else ())
    if problems:
        raise ConfigError("\n".join(problems))
    return checked


def sentences(
    details: Collection[ErrorDetails],
    prefix: str,
    values: object,
    known: Collection[str],
    everywhere: Collection[str] = (),
    typed: Mapping[str, str] | None = None,
) -> list[str]:
    """Pydantic's findings as messages, each with the key, the value, the limit and the remedy.

    Args:
        details: the findings.
        prefix: the dotted key of what was checked.
        values: what was checked.
        known: the keys that its schema has.
        everywhere: every dotted key of the configuration.
        typed: values as they were typed, by dotted key.
    """
    said: list[str] = []
    limits: dict[tuple[str, str], list[str]] = {}  # a choice between types is one finding for each of them
    for detail in details:
        key = _key(prefix, detail["loc"], values)
        last = key.rpartition(".")[2]
        match detail["type"]:
            case "extra_forbidden":
                hint = (
                    _package_hint(key)
                    or renamed(key)
                    or suggest(last, known)
                    or suggest_key(key, {*everywhere} - {key})
                )
                said.append(f"{key}: there is no such setting{hint}")
            case "missing":
                said.append(f"{key} is missing.")
            case "value_error":
                said.append(f"{key}: {detail['ctx']['error']}.")
            case "string_type":
                said.append(_not_text(key, detail["input"], typed or {}))
            case kind:
                limits.setdefault((key, _as_yaml(detail["input"])), []).append(_limit(kind, detail))
    return said + [f"{key}={value} {' or '.join(limit)}." for (key, value), limit in limits.items()]


def _not_text(key: str, value: object, typed: Mapping[str, str]) -> str:
    """A number or the like where text is meant, and how text of that spelling is typed into a shell."""
    written = typed.get(key, _as_yaml(value))
    setting, bracket, _ = key.partition("[")
    quoted = '["..."]' if bracket else f'"{written}"'
    remedy = (
        f": put it into quotes that Hydra sees, as in {setting}='{quoted}'" if isinstance(value, int | float) else ""
    )
    return f"{key}={written} must be text{remedy}."


def _dotted(config: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Every dotted key of nested dicts."""
    for key, value in config.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{prefix}{key}.")


def _names(schema: type[BaseModel]) -> list[str]:
    """The keys of a schema and of the schemas within it."""
    names = []
    for name, field in schema.model_fields.items():
        names.append(field.alias or name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names += _names(field.annotation)
    return names


def _key(prefix: str, place: Sequence[int | str], values: object) -> str:
    """The dotted key of a finding, with [n] for elements of lists; pydantic goes on with the type it tried."""
    key = prefix
    for step in place:
        if isinstance(values, Mapping):
            key, values = f"{key}.{step}" if key else str(step), values.get(step)
        elif isinstance(values, list) and isinstance(step, int):
            key, values = f"{key}[{step}]", values[step]
        else:
            break
    return key


def _limit(kind: str, detail: ErrorDetails) -> str:
    bounds = {
        "greater_than": ("gt", "must be above"),
        "greater_than_equal": ("ge", "must be at least"),
        "less_than": ("lt", "must be below"),
        "less_than_equal": ("le", "must be at most"),
    }
    if kind in bounds:
        name, words = bounds[kind]
        return f"{words} {detail['ctx'][name]:g}" if detail["ctx"][name] < 1e6 else f"{words} {detail['ctx'][name]}"
    if kind == "literal_error":
        return f"must be {detail['ctx']['expected']}"
    if kind == "string_pattern_mismatch":
        return "may hold only letters, digits and . _ -"
    return detail["msg"].replace("Input should be", "must be")


def _as_yaml(value: object) -> str:
    """A value as a person would type it: null and true, not None and True."""
    return repr(value) if isinstance(value, str | float) else json.dumps(value, default=str)


def _package_hint(key: str) -> str:
    """Where a whole experiment has landed under its group's name instead of at the top."""
    return (
        "; the file in conf/experiment/ must begin with the line '# @package _global_'" if key == "experiment" else ""
    )


def _clashes(config: Mapping[str, Any]) -> Iterator[str]:
    """Settings that are right each by itself and wrong together."""
    monitor, val_size = config["monitor"], config["data"].get("val_size")
    if monitor and monitor.startswith("val/") and val_size == 0:
        yield (
            f"monitor={monitor} needs validation data, and data.val_size=0 holds none out: "
            "set data.val_size=5000, or leave monitor out."
        )
    if monitor and (config["mode"] == "min") != monitor.endswith("/loss"):
        yield f"mode={config['mode']} would keep the worst {monitor}: leave mode out, or set it the other way."
    if not monitor and config["mode"] == "min":
        yield "mode=min says which way monitor is better, and there is no monitor: leave mode out."
    for name in ("best", "last"):
        if (filename := config["callbacks"].get(name, {}).get("filename", name)) != name:
            yield f"callbacks.{name}.filename={filename!r} must stay {name!r}, the name by which other commands find it."
    names = [node["filename"] for node in config["callbacks"].values() if "filename" in node]
    if doubled := {name for name in names if names.count(name) > 1}:
        yield f"callbacks: {', '.join(sorted(doubled))}.ckpt would be written by two of them; give each its own filename."
    monitored = config["schedule"].get("monitor")
    if isinstance(monitored, str) and monitored.startswith("val/") and val_size == 0:
        yield (
            f"schedule.monitor={monitored} needs validation data, and data.val_size=0 holds none out: set "
            "schedule.monitor=train/loss."
        )
    if config["optimizer"]["_target_"].endswith(".Muon") and config["model"].get("hidden") == []:
        yield "optimizer=muon works on hidden layers, and model.hidden=[] has none: set another optimizer."
    devices, batch_size = config["trainer"]["devices"], config["data"].get("batch_size")
    if devices != "auto" and batch_size is not None and batch_size < devices * config["trainer"]["num_nodes"]:
        yield (
            f"data.batch_size={batch_size} is shared by all devices and must be at least their number, "
            f"trainer.devices={devices}."
        )
    epochs, warmup = config["trainer"]["max_epochs"], config["schedule"].get("warmup_epochs", 0)
    if warmup > epochs:
        yield f"schedule.warmup_epochs={warmup:g} must be at most trainer.max_epochs={epochs}."
    targets = {node["_target_"]: (name, node) for name, node in config["callbacks"].items()}
    name, pruning = targets.get("src.callbacks.pruning.Pruning", ("", {}))
    if pruning and pruning["end_epoch"] > epochs:
        yield f"callbacks.{name}.end_epoch={pruning['end_epoch']:g} must be at most trainer.max_epochs={epochs}."
    if pruning and "src.callbacks.averaging.EMA" in targets:
        yield f"callbacks.{name} sets weights to zero, and an average of them is none: leave it or the average out."
