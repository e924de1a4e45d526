"""Bounds and descriptions of settings outside this project's constructors: parameters of torch and Lightning, trainer, run.

Imported only to generate schemas.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from src.bounds import (
    Bounds,
    Count,
    CountOrZero,
    Fraction,
    FractionBelowOne,
    Metric,
    Mode,
    NotNegative,
    Positive,
    Seed,
    Word,
)
from src.config.signatures import arguments, of_type
from src.config.targets import OWNED_BY_TRAINING, TRAINER_DEFAULTS

# By parameter name.
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
    "train_time_interval": Annotated[None, "time between two checkpoints; only null can be configured"],
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
# Arguments of lightning.pytorch.Trainer.
TRAINER: dict[str, Any] = {
    "accelerator": Annotated[Literal["auto", "cpu", "gpu", "mps"], "hardware; auto: the best there is"],
    "strategy": Annotated[
        Literal["auto", "ddp", "ddp_find_unused_parameters_true"], "how several devices share the work; auto: ddp"
    ],
    "devices": Annotated[
        Count | Literal["auto"], "number of devices; auto: every GPU, or two CPU processes without one"
    ],
    "num_nodes": Annotated[Count, "number of machines"],
    "precision": Annotated[
        Literal["32-true", "bf16-mixed", "16-mixed", "64-true", "bf16-true", "16-true"], "floating-point precision"
    ],
    "max_epochs": Annotated[Count, "epochs"],
    "min_epochs": Annotated[Count, "epochs before callbacks may end the training"],
    "max_steps": Annotated[int, Bounds(ge=-1), "optimizer steps after which the training ends; -1: no limit"],
    "min_steps": Annotated[Count, "optimizer steps before callbacks may end the training"],
    "max_time": Annotated[str | dict[str, int], "time after which the training ends, as DD:HH:MM:SS"],
    "limit_train_batches": Annotated[CountOrZero | Fraction, "number of batches of an epoch, or fraction (1.0: all)"],
    "limit_val_batches": Annotated[CountOrZero | Fraction, "number of batches of a validation, or fraction (1.0: all)"],
    "limit_test_batches": Annotated[CountOrZero | Fraction, "number of batches of the test, or fraction (1.0: all)"],
    "overfit_batches": Annotated[
        CountOrZero | Fraction, "number or fraction of batches to train and validate on, always the same"
    ],
    "val_check_interval": Annotated[
        Count | Fraction | str | dict[str, int],
        "training batches between two validations, or a fraction of the epoch, or a time",
    ],
    "check_val_every_n_epoch": Annotated[Count, "epochs between two validations"],
    "num_sanity_val_steps": Annotated[int, Bounds(ge=-1), "validation batches run before the training; -1: all"],
    "log_every_n_steps": Annotated[Count, "training batches between two points of the curves"],
    "accumulate_grad_batches": Annotated[Count, "batches whose gradients are added up for one optimizer step"],
    "gradient_clip_val": Annotated[NotNegative, "limit of the gradients"],
    "gradient_clip_algorithm": Annotated[Literal["norm", "value"], "what is limited: the 2-norm of all, or each value"],
    "deterministic": Annotated[bool | Literal["warn"], "use deterministic algorithms; warn: where there are any"],
    "benchmark": Annotated[bool, "let cuDNN choose the fastest algorithm by trying them"],
    "inference_mode": Annotated[bool, "evaluate in torch.inference_mode instead of torch.no_grad"],
    "use_distributed_sampler": Annotated[bool, "give each process its share of a DataLoader's training samples"],
    "profiler": Annotated[Literal["simple", "advanced", "pytorch"], "measure where the time goes"],
    "detect_anomaly": Annotated[bool, "find the operation that produced a NaN; slow"],
    "sync_batchnorm": Annotated[bool, "normalize over the batch of all devices; by default on several GPUs"],
    "reload_dataloaders_every_n_epochs": Annotated[
        CountOrZero, "epochs after which dataloaders are recreated; 0: never"
    ],
    "enable_model_summary": Annotated[bool, "print the layers and their sizes before the training"],
}
# Arguments that every file in conf/trainer/ sets.
TRAINER_REQUIRED = ("accelerator", "devices", "num_nodes", "precision", "max_epochs")
# Settings of the trainer group besides the arguments of lightning.pytorch.Trainer.
OWN_TRAINER: dict[str, Any] = {
    "max_minutes": Annotated[Positive | None, "end a run that takes longer, even if it hangs; it can be resumed"],
    "threads": Annotated[
        Literal["auto"] | Count,
        "CPU threads of each process; auto: all cores or, where results stay the same, one if that is faster just now",
    ],
}
OWN_DEFAULTS = {"max_minutes": None, "threads": "auto"}


def trainer_schema() -> dict[str, Any]:
    """The JSON schema of the trainer group; imports Lightning."""
    from lightning.pytorch import Trainer

    schema = arguments(Trainer, OWNED_BY_TRAINING, TRAINER)
    properties = schema["properties"]
    properties |= {name: of_type(TRAINER[name]) for name in TRAINER_REQUIRED}
    for name, default in TRAINER_DEFAULTS.items():
        properties[name] = {**properties[name], "default": default}
    for name, default in OWN_DEFAULTS.items():
        properties[name] = {**(of_type(OWN_TRAINER[name]) or {}), "default": default}
    return {**schema, "properties": properties, "required": list(TRAINER_REQUIRED)}


@dataclass
class Run:
    """The settings outside the groups."""

    seed: Annotated[Seed, "seed of initial weights, split, order of samples and dropout"]
    name: Annotated[Word | None, "word to find the run by, besides its id"]
    tags: Annotated[list[Word], "words to group runs by, as in tags=[baseline,wide]"]
    monitor: Annotated[Metric | None, "metric that selects best.ckpt; null: the last epoch"]
    mode: Annotated[Mode | None, "whether monitor should fall or rise"]
    init_from: Annotated[
        str | dict[str, str | bool | None] | None,
        "trained weights to start from: a run, or a file; or {path: RUN, strict: false} for those that match",
    ] = None
    freeze: Annotated[list[str], "patterns of parameters that are not trained, as in ['net.layers.0.*']"] = ()  # type: ignore[assignment]
    resume: Annotated[None, "run to resume: latest, an id, a name or a directory"] = None
