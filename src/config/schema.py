"""The keys, types and limits of every setting, in one place.

A group's keys are those of the object it names in ``_target_``. For the objects known here they are checked at once (``src.config.check``);
an object of the user's own is checked against its signature as soon as it has been imported (``src.config.targets``).
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

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
    """Settings of an object that a configuration names; ``_target_`` itself is checked by ``src.config.targets``."""

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


def _is_left_out(value: object) -> bool:
    return value is None


class Data(OfTheUser):
    """What a data set of the user's own takes from ``src.data.module.TensorData``, whose defaults hold for what is left out."""

    batch_size: Count | None = Field(default=None, exclude_if=_is_left_out)
    steps_per_execution: Count | None = Field(default=None, exclude_if=_is_left_out)
    val_size: Annotated[int, Field(ge=0)] | None = Field(default=None, exclude_if=_is_left_out)
    train_size: Count | None = Field(default=None, exclude_if=_is_left_out)


class Points(Node):
    """``src.data.points.Points``."""

    batch_size: Count
    steps_per_execution: Count
    val_size: Annotated[int, Field(ge=0, lt=4)]


class Classifier(Node):
    """``src.tasks.classification.Classifier``."""

    loss: Literal["cross_entropy", "squared_error", "binary_cross_entropy"]
    label_smoothing: Share = 0.0
    gradient_clip_norm: Positive | None

    @model_validator(mode="after")
    def _smoothing_has_cross_entropy(self) -> "Classifier":
        if self.label_smoothing and self.loss != "cross_entropy":
            raise ValueError(f"label_smoothing={self.label_smoothing} goes with loss=cross_entropy, not {self.loss}")
        return self


class MLP(Node):
    """``src.models.mlp.MLP``."""

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
    """``src.optim.optimizers.Muon``."""

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
    """``src.optim.schedules.constant``."""

    warmup_epochs: NotNegative


class Cosine(Node):
    """``src.optim.schedules.cosine``."""

    warmup_epochs: NotNegative
    final_ratio: Ratio


class Step(Node):
    """``src.optim.schedules.step``."""

    warmup_epochs: NotNegative
    step_size: Positive
    gamma: PositiveShare


class Exponential(Node):
    """``src.optim.schedules.exponential``."""

    warmup_epochs: NotNegative
    gamma: PositiveShare


class OneCycle(Node):
    """``src.optim.schedules.one_cycle``."""

    pct_start: PositiveShare
    div_factor: Annotated[float, Field(gt=1)]
    final_div_factor: Annotated[float, Field(gt=1)]


class Plateau(Node):
    """``src.optim.schedules.plateau``."""

    monitor: Metric
    factor: PositiveShare
    patience: Annotated[int, Field(ge=0)]
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


class AdversarialTraining(Node):
    """``src.callbacks.adversarial.AdversarialTraining``."""

    attack: Literal["fgsm", "pgd"]
    epsilon: PositiveShare
    steps: Count
    step_size: PositiveShare
    share: Annotated[float, Field(gt=0, le=1)]


class Pruning(Node):
    """``src.callbacks.pruning.Pruning``."""

    amount: PositiveShare
    start_epoch: NotNegative
    end_epoch: Positive
    structured: bool

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> "Pruning":
        if self.end_epoch < self.start_epoch:
            raise ValueError(f"end_epoch={self.end_epoch:g} must be at least start_epoch={self.start_epoch:g}")
        return self


class Profile(Node):
    """``src.callbacks.profile.Profile``."""

    chunks: Count
    warmup_chunks: Annotated[int, Field(ge=0)]
    rows: Count


class TestResults(Node):
    """``src.callbacks.results.TestResults``."""

    mistakes: Annotated[int, Field(ge=0, le=1000)]


class Samples(Node):
    """``src.callbacks.network.Inputs``, ``src.callbacks.network.Projector`` and ``src.callbacks.figures.Mistakes``."""

    count: Annotated[int, Field(ge=1, le=10_000)]


class FirstLayer(Samples):
    """``src.callbacks.network.FirstLayer``."""

    every_n_epochs: Count


class SystemMetrics(Node):
    """``src.callbacks.system.SystemMetrics``."""

    interval_s: Positive


class Watch(Node):
    """``src.callbacks.watch.Watch``."""

    monitor: Metric | None
    mode: Literal["min", "max"]
    patience_epochs: Count
    min_free_mb: NotNegative


class NoSettings(Node):
    """An object without settings."""


class Trainer(Settings):
    """The hardware and how long it works."""

    accelerator: Literal["auto", "cpu", "gpu", "mps"]
    devices: Count | Literal["auto"]
    num_nodes: Count
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "64-true"]
    max_epochs: Count
    max_minutes: Positive | None = None
    threads: Literal["auto"] | Count = "auto"  # runs of earlier versions did not record it


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
    "src.models.mlp.MLP": MLP,
    "src.tasks.classification.Classifier": Classifier,
    "torch.optim.Adam": Adam,
    "torch.optim.AdamW": Adam,
    "torch.optim.SGD": SGD,
    "src.optim.optimizers.Muon": Muon,
    "torch.optim.RMSprop": RMSprop,
    "torch.optim.Adagrad": Adagrad,
    "src.optim.schedules.constant": Constant,
    "src.optim.schedules.step": Step,
    "src.optim.schedules.exponential": Exponential,
    "src.optim.schedules.cosine": Cosine,
    "src.optim.schedules.one_cycle": OneCycle,
    "src.optim.schedules.plateau": Plateau,
    "lightning.pytorch.callbacks.ModelCheckpoint": ModelCheckpoint,
    "lightning.pytorch.callbacks.EarlyStopping": EarlyStopping,
    "src.callbacks.averaging.EMA": EMA,
    "src.callbacks.adversarial.AdversarialTraining": AdversarialTraining,
    "src.callbacks.pruning.Pruning": Pruning,
    "src.callbacks.profile.Profile": Profile,
    "src.callbacks.results.TestResults": TestResults,
    "src.callbacks.system.SystemMetrics": SystemMetrics,
    "src.callbacks.watch.Watch": Watch,
    "src.callbacks.network.Inputs": Samples,
    "src.callbacks.network.Projector": Samples,
    "src.callbacks.figures.Mistakes": Samples,
    "src.callbacks.network.FirstLayer": FirstLayer,
    "src.callbacks.network.Histograms": NoSettings,
    "src.callbacks.network.Graph": NoSettings,
    "src.callbacks.figures.ConfusionMatrix": NoSettings,
    "src.callbacks.figures.Reliability": NoSettings,
    "src.callbacks.figures.PRCurves": NoSettings,
    "src.callbacks.anomaly.Anomaly": NoSettings,
    "src.callbacks.gradients.GradientNorm": NoSettings,
    "src.callbacks.progress.Progress": NoSettings,
    "src.callbacks.curves.Curves": NoSettings,
    "src.loggers.tensorboard.TensorBoard": NoSettings,
    "src.loggers.csv.CSV": NoSettings,
}
# Groups that hold one object, with what an object of the user's own must at least say; groups that hold several.
ONE: dict[str, type[Node]] = {
    "data": Data,
    "task": OfTheUser,
    "model": OfTheUser,
    "optimizer": Optimizer,
    "schedule": OfTheUser,
}
MANY = ("callbacks", "logger")
GROUPS = (*ONE, "trainer", *MANY)
