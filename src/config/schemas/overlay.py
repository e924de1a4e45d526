"""Bounds and descriptions of what has no annotations of this project: parameters of torch and Lightning, the trainer, the run.

Imported only where schemas are generated.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from src.bounds import (
    Bounds,
    Count,
    Fraction,
    FractionBelowOne,
    Metric,
    Mode,
    NotNegative,
    Positive,
    Seed,
    Word,
)

# By the name of a parameter.
PARAMETERS: dict[str, Any] = {
    "lr": Annotated[Positive, "learning rate"],
    "betas": Annotated[
        tuple[FractionBelowOne, FractionBelowOne], "decay rates of the means of gradients and of their squares"
    ],
    "eps": Annotated[Positive, "added to the denominator for numerical stability"],
    "weight_decay": Annotated[NotNegative, "weight decay"],
    "momentum": Annotated[FractionBelowOne, "momentum"],
    "dampening": Annotated[Fraction, "dampening of the momentum"],
    "nesterov": Annotated[bool, "Nesterov momentum, which requires a momentum above 0"],
    "alpha": Annotated[FractionBelowOne, "decay rate of the mean of squared gradients"],
    "centered": Annotated[bool, "normalize the gradient by an estimate of its variance"],
    "lr_decay": Annotated[NotNegative, "decay of the learning rate"],
    "initial_accumulator_value": Annotated[NotNegative, "initial sum of squared gradients"],
    "amsgrad": Annotated[bool, "divide by the maximum of all past means of squared gradients"],
    "maximize": Annotated[bool, "maximize the loss"],
    "foreach": Annotated[bool, "implementation with one kernel for each operation"],
    "fused": Annotated[bool, "implementation with one kernel for all parameters"],
    "capturable": Annotated[bool, "allow capture in a CUDA graph"],
    "differentiable": Annotated[bool, "let autograd through the step"],
    "decoupled_weight_decay": Annotated[bool, "decay the weights themselves, as AdamW does"],
    "monitor": Annotated[Metric, "metric that is compared"],
    "mode": Annotated[Mode, "whether the metric should fall or rise"],
    "patience": Annotated[Count, "epochs without improvement before the training ends"],
    "min_delta": Annotated[NotNegative, "smallest change that counts as an improvement"],
    "filename": Annotated[Word, "name of the file, without .ckpt"],
    "every_n_epochs": Annotated[Count, "epochs between two checkpoints"],
    "save_top_k": Annotated[int, Bounds(ge=-1), "number of best checkpoints that are kept; -1: all"],
    "save_on_train_epoch_end": Annotated[bool, "save at the end of the epoch, after validation"],
    "dirpath": Annotated[str, "folder; by default the run's checkpoints"],
    "verbose": Annotated[bool, "log what is done"],
    "save_last": Annotated[bool | Literal["link"], "write last.ckpt, too"],
    "save_on_exception": Annotated[bool, "save when the training fails"],
    "save_weights_only": Annotated[bool, "save neither the optimizer nor the position in the training"],
    "auto_insert_metric_name": Annotated[bool, "write the metric's name before its value in filename"],
    "every_n_train_steps": Annotated[int, "steps between two checkpoints"],
    "strict": Annotated[bool, "fail if monitor is not logged"],
    "check_finite": Annotated[bool, "end the training if monitor is NaN or infinite"],
    "stopping_threshold": Annotated[float, "end the training when monitor is better than this"],
    "divergence_threshold": Annotated[float, "end the training when monitor is worse than this"],
    "check_on_train_epoch_end": Annotated[bool, "compare after the epoch, not after validation"],
    "log_rank_zero_only": Annotated[bool, "log on the first rank only"],
    "enable_version_counter": Annotated[bool, "append -v1, -v2, ... to the name of a file that exists"],
}
# Of one target alone, where it differs from others with a parameter of that name.
OF_TARGET: dict[str, dict[str, Any]] = {
    "lightning.pytorch.callbacks.EarlyStopping": {
        "monitor": Annotated[Literal["val/acc", "val/loss"], "metric that must improve"]
    },
}


@dataclass
class Trainer:
    """The ``trainer`` group: the hardware, and how long to train on it."""

    accelerator: Annotated[Literal["auto", "cpu", "gpu", "mps"], "hardware; auto: the best there is"]
    devices: Annotated[Count | Literal["auto"], "number of devices; auto: every GPU, or two CPU processes without one"]
    num_nodes: Annotated[Count, "number of machines"]
    precision: Annotated[Literal["32-true", "bf16-mixed", "16-mixed", "64-true"], "floating-point precision"]
    max_epochs: Annotated[Count, "epochs"]
    max_minutes: Annotated[Positive | None, "end a run that takes longer, even if it hangs; it can be resumed"] = None
    threads: Annotated[
        Literal["auto"] | Count,
        "CPU threads of each process; auto: all cores or, where results stay the same, one if that is faster just now",
    ] = "auto"


@dataclass
class Run:
    """The settings outside the groups."""

    seed: Annotated[Seed, "seed of initial weights, split, order of samples and dropout"]
    name: Annotated[Word | None, "word to find the run by, besides its id"]
    tags: Annotated[list[Word], "words to group runs by, as in tags=[baseline,wide]"]
    monitor: Annotated[Metric | None, "metric that selects best.ckpt; null: the last epoch"]
    mode: Annotated[Mode, "whether monitor should fall or rise"]
    resume: Annotated[None, "run to resume: latest, an id, a name or a directory"] = None
