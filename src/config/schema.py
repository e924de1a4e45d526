"""The keys, types and limits of every setting, in one place, checked before anything starts.

A group's keys are those of the object it names in ``_target_``. For the objects known here they are checked at once;
an object of the user's own is checked against its signature as soon as it has been imported (``src.targets``).
"""

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from src.errors import ConfigError, suggest
from src.targets import check_name

Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
Width = Annotated[int, Field(ge=1, le=1_000_000)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Ratio = Annotated[float, Field(ge=0, le=1)]
Metric = Literal["val/acc", "val/loss", "train/acc", "train/loss"]
# Words that can stand in a path, a command line and a filter as they are.
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$", max_length=64)]


class Settings(BaseModel):
    """Strict: no unknown keys, no conversions, no infinities."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Node(Settings):
    """Settings of an object that a configuration names; ``_target_`` itself is checked by ``src.targets``."""

    target: str = Field(alias="_target_")


class OfTheUser(Node):
    """An object not known here: any keys, checked later against its signature."""

    model_config = ConfigDict(extra="allow")


class MNIST(Node):
    """``src.data.mnist.MNIST``."""

    dir: str
    batch_size: Count
    steps_per_execution: Count
    val_size: Annotated[int, Field(ge=0, lt=60_000)]
    train_size: Count | None

    @model_validator(mode="after")
    def _fits(self) -> "MNIST":
        left = 60_000 - self.val_size
        if self.train_size is not None and self.train_size > left:
            raise ValueError(
                f"train_size must be at most {left}: of 60,000 images val_size={self.val_size} are held out"
            )
        return self


class Classifier(OfTheUser):
    """What every model's group says to the classifier around it."""

    loss: Literal["cross_entropy"]
    gradient_clip_norm: Positive | None


class MLP(Node):
    """``src.model.mlp.MLP``."""

    hidden: list[Width]
    activation: Literal["relu"]
    dropout: Share
    loss: Literal["cross_entropy"]
    gradient_clip_norm: Positive | None


class Optimizer(OfTheUser):
    """What every optimizer has."""

    lr: Positive


class Adam(Node):
    """``torch.optim.Adam``."""

    lr: Positive
    betas: Annotated[list[Share], Field(min_length=2, max_length=2)]
    eps: Positive
    weight_decay: NotNegative
    fused: bool


class SGD(Node):
    """``torch.optim.SGD``."""

    lr: Positive
    momentum: Share
    weight_decay: NotNegative
    nesterov: bool
    fused: bool

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> "SGD":
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov=true needs a momentum above 0, such as 0.9")
        return self


class Constant(Node):
    """``src.model.schedules.constant``."""

    warmup_epochs: NotNegative


class Cosine(Node):
    """``src.model.schedules.cosine``."""

    warmup_epochs: NotNegative
    final_ratio: Ratio


class ModelCheckpoint(Node):
    """``lightning.pytorch.callbacks.ModelCheckpoint``."""

    filename: Word
    monitor: Metric | None
    mode: Literal["min", "max"]
    save_on_train_epoch_end: bool
    enable_version_counter: bool


class NoSettings(Node):
    """An object without settings."""


class Trainer(Settings):
    """The hardware and how long it works."""

    accelerator: Literal["auto", "cpu", "gpu", "mps"]
    devices: Count | Literal["auto"]
    num_nodes: Count
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "64-true"]
    max_epochs: Count


class Run(Settings):
    """The settings that stand outside the groups."""

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    name: Word | None
    tags: list[Word]
    monitor: Metric | None
    mode: Literal["min", "max"]


KNOWN: dict[str, type[Node]] = {
    "src.data.mnist.MNIST": MNIST,
    "src.model.mlp.MLP": MLP,
    "torch.optim.Adam": Adam,
    "torch.optim.SGD": SGD,
    "src.model.schedules.constant": Constant,
    "src.model.schedules.cosine": Cosine,
    "lightning.pytorch.callbacks.ModelCheckpoint": ModelCheckpoint,
    "src.callbacks.progress.Progress": NoSettings,
    "src.callbacks.curves.Curves": NoSettings,
    "src.tracking.tensorboard.TensorBoard": NoSettings,
}
# Groups that hold one object, with what an object of the user's own must at least say; groups that hold several.
ONE: dict[str, type[Node]] = {"data": OfTheUser, "model": Classifier, "optimizer": Optimizer, "schedule": OfTheUser}
MANY = ("callbacks", "logger")
GROUPS = (*ONE, "trainer", *MANY)


def check(config: Mapping[str, Any]) -> dict[str, Any]:
    """Check a composed, resolved configuration.

    Args:
        config: nested plain dicts, lists and values, every group included.

    Returns:
        The same settings, each in its own type (an integer where a fraction is meant becomes one).

    Raises:
        ConfigError: one line for each thing that is wrong.
    """
    problems: list[str] = []

    def part(schema: type[Settings], values: object, prefix: str) -> Any:
        if not isinstance(values, Mapping):
            problems.append(f"{prefix}={_as_yaml(values)} must be a group of settings.")
            return values
        try:
            return schema.model_validate(values).model_dump(by_alias=True)
        except ValidationError as error:
            known = [field.alias or name for name, field in schema.model_fields.items()]
            problems.extend(_sentences(error.errors(), prefix, known))

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

    known = {*GROUPS, *Run.model_fields}
    checked: dict[str, Any] = {}
    strangers = [key for key in config if key not in known]
    problems.extend(
        f"{key}: there is no such setting or group{_package_hint(key) or suggest(key, known)}" for key in strangers
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


def _sentences(details: Collection[ErrorDetails], prefix: str, known: Collection[str]) -> list[str]:
    """Pydantic's findings, each said with the key, the value, the limit and the remedy."""
    said: list[str] = []
    limits: dict[tuple[str, str], list[str]] = {}  # a choice between types is one finding for each of them
    for detail in details:
        first, *rest = detail["loc"] or ("",)
        key = ".".join(filter(None, [prefix, str(first)])) + "".join(
            f"[{step}]" for step in rest if isinstance(step, int)
        )
        match detail["type"]:
            case "extra_forbidden":
                said.append(f"{key}: there is no such setting{_package_hint(key) or suggest(str(first), known)}")
            case "missing":
                said.append(f"{key} is missing.")
            case "value_error":
                said.append(f"{prefix}: {detail['ctx']['error']}.")
            case kind:
                limits.setdefault((key, _as_yaml(detail["input"])), []).append(_limit(kind, detail))
    return said + [f"{key}={value} {' or '.join(limit)}." for (key, value), limit in limits.items()]


def _limit(kind: str, detail: ErrorDetails) -> str:
    bounds = {
        "greater_than": ("gt", "must be above"),
        "greater_than_equal": ("ge", "must be at least"),
        "less_than": ("lt", "must be below"),
        "less_than_equal": ("le", "must be at most"),
    }
    if kind in bounds:
        name, words = bounds[kind]
        return f"{words} {detail['ctx'][name]}"
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
    devices, batch_size = config["trainer"]["devices"], config["data"].get("batch_size")
    if devices != "auto" and batch_size is not None and batch_size < devices * config["trainer"]["num_nodes"]:
        yield (
            f"data.batch_size={batch_size} is shared by all devices and must be at least their number, "
            f"trainer.devices={devices}."
        )
    epochs, warmup = config["trainer"]["max_epochs"], config["schedule"].get("warmup_epochs", 0)
    if warmup > epochs:
        yield f"schedule.warmup_epochs={warmup:g} must be at most trainer.max_epochs={epochs}."
