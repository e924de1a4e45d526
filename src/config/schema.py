"""The keys, types and limits of every setting, in one place, checked before anything starts.

A group's keys are those of the object it names in ``_target_``. For the objects known here they are checked at once;
an object of the user's own is checked against its signature as soon as it has been imported (``src.targets``).
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
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
PositiveShare = Annotated[float, Field(gt=0, lt=1)]
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


class Augmentation(Settings):
    """``src.data.augment.Augmentation``."""

    shift: Annotated[float, Field(ge=0, le=28)]
    rotation: Annotated[float, Field(ge=0, le=180)]
    scale: Share
    shear: Annotated[float, Field(ge=0, le=60)]
    elastic: Annotated[float, Field(ge=0, le=28)]
    erasing: Ratio


class MNIST(Node):
    """``src.data.mnist.MNIST`` and its kin."""

    dir: str
    mean: float
    std: Positive
    augment: Augmentation
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


class Points(Node):
    """``src.data.points.Points``."""

    batch_size: Count
    steps_per_execution: Count
    val_size: Annotated[int, Field(ge=0, lt=4)]


class Classifier(OfTheUser):
    """What every model's group says to the classifier around it."""

    loss: Literal["cross_entropy", "squared_error", "binary_cross_entropy"]
    label_smoothing: Share = 0.0
    gradient_clip_norm: Positive | None

    @model_validator(mode="after")
    def _smoothing_has_cross_entropy(self) -> "Classifier":
        if self.label_smoothing and self.loss != "cross_entropy":
            raise ValueError(f"label_smoothing={self.label_smoothing} goes with loss=cross_entropy, not {self.loss}")
        return self


class MLP(Classifier):
    """``src.model.mlp.MLP``."""

    model_config = ConfigDict(extra="forbid")

    hidden: list[Width]
    activation: Literal["relu", "sigmoid", "tanh", "gelu", "silu"]
    norm: Literal["batch", "layer"] | None
    dropout: Share


class Optimizer(OfTheUser):
    """What every optimizer has."""

    lr: Positive


class Adam(Node):
    """``torch.optim.Adam`` and ``AdamW``."""

    lr: Positive
    betas: Annotated[list[Share], Field(min_length=2, max_length=2)]
    eps: Positive
    weight_decay: NotNegative
    fused: bool


class RMSprop(Node):
    """``torch.optim.RMSprop``."""

    lr: Positive
    alpha: Share
    eps: Positive
    momentum: Share
    centered: bool
    weight_decay: NotNegative


class Adagrad(Node):
    """``torch.optim.Adagrad``."""

    lr: Positive
    lr_decay: NotNegative
    eps: Positive
    initial_accumulator_value: NotNegative
    weight_decay: NotNegative
    fused: bool


class Muon(Node):
    """``src.model.optimizers.Muon``."""

    lr: Positive
    momentum: Share
    weight_decay: NotNegative
    adamw_lr: Positive


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


class Step(Node):
    """``src.model.schedules.step``."""

    warmup_epochs: NotNegative
    every_epochs: Positive
    factor: PositiveShare


class Exponential(Node):
    """``src.model.schedules.exponential``."""

    warmup_epochs: NotNegative
    factor: PositiveShare


class OneCycle(Node):
    """``src.model.schedules.one_cycle``."""

    rise: PositiveShare
    start_ratio: PositiveShare
    final_ratio: PositiveShare


class Plateau(Node):
    """``src.model.schedules.plateau``."""

    watch: Metric
    factor: PositiveShare
    patience_epochs: Annotated[int, Field(ge=0)]
    min_ratio: Ratio


class ModelCheckpoint(Node):
    """``lightning.pytorch.callbacks.ModelCheckpoint``."""

    filename: Word
    monitor: Metric | None
    mode: Literal["min", "max"]
    every_n_epochs: Count
    save_on_train_epoch_end: bool
    enable_version_counter: bool


class EarlyStopping(Node):
    """``lightning.pytorch.callbacks.EarlyStopping``."""

    monitor: Literal["val/acc", "val/loss"]
    mode: Literal["min", "max"]
    patience: Count
    min_delta: NotNegative


class EMA(Node):
    """``src.callbacks.averaging.EMA``."""

    decay: PositiveShare


class Profile(Node):
    """``src.callbacks.profile.Profile``."""

    chunks: Count
    warmup_chunks: Annotated[int, Field(ge=0)]
    rows: Count


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

    resume: None = None  # a word of the command line, which is dealt with before
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    name: Word | None
    tags: list[Word]
    monitor: Metric | None
    mode: Literal["min", "max"]


KNOWN: dict[str, type[Node]] = {
    "src.data.mnist.MNIST": MNIST,
    "src.data.mnist.FashionMNIST": MNIST,
    "src.data.mnist.KMNIST": MNIST,
    "src.data.mnist.QMNIST": MNIST,
    "src.data.points.Points": Points,
    "src.model.mlp.MLP": MLP,
    "torch.optim.Adam": Adam,
    "torch.optim.AdamW": Adam,
    "torch.optim.SGD": SGD,
    "src.model.optimizers.Muon": Muon,
    "torch.optim.RMSprop": RMSprop,
    "torch.optim.Adagrad": Adagrad,
    "src.model.schedules.constant": Constant,
    "src.model.schedules.step": Step,
    "src.model.schedules.exponential": Exponential,
    "src.model.schedules.cosine": Cosine,
    "src.model.schedules.one_cycle": OneCycle,
    "src.model.schedules.plateau": Plateau,
    "lightning.pytorch.callbacks.ModelCheckpoint": ModelCheckpoint,
    "lightning.pytorch.callbacks.EarlyStopping": EarlyStopping,
    "src.callbacks.averaging.EMA": EMA,
    "src.callbacks.profile.Profile": Profile,
    "src.callbacks.anomaly.Anomaly": NoSettings,
    "src.callbacks.gradients.GradientNorm": NoSettings,
    "src.callbacks.progress.Progress": NoSettings,
    "src.callbacks.curves.Curves": NoSettings,
    "src.tracking.tensorboard.TensorBoard": NoSettings,
    "src.tracking.loggers.CSV": NoSettings,
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
            problems.extend(_sentences(error.errors(), prefix, values, _names(schema)))

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


def _sentences(details: Collection[ErrorDetails], prefix: str, values: object, known: Collection[str]) -> list[str]:
    """Pydantic's findings, each said with the key, the value, the limit and the remedy."""
    said: list[str] = []
    limits: dict[tuple[str, str], list[str]] = {}  # a choice between types is one finding for each of them
    for detail in details:
        key = _key(prefix, detail["loc"], values)
        last = key.rpartition(".")[2]
        match detail["type"]:
            case "extra_forbidden":
                said.append(f"{key}: there is no such setting{_package_hint(key) or suggest(last, known)}")
            case "missing":
                said.append(f"{key} is missing.")
            case "value_error":
                said.append(f"{key}: {detail['ctx']['error']}.")
            case kind:
                limits.setdefault((key, _as_yaml(detail["input"])), []).append(_limit(kind, detail))
    return said + [f"{key}={value} {' or '.join(limit)}." for (key, value), limit in limits.items()]


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
    watch = config["schedule"].get("watch")
    if watch and watch.startswith("val/") and val_size == 0:
        yield f"schedule.watch={watch} needs validation data, and data.val_size=0 holds none out: watch train/loss."
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
