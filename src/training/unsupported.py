"""Unsupported classes: refused because they would have no effect, or one that the record does not show."""

import inspect
from collections import Counter
from collections.abc import Callable, Sequence

import lightning.pytorch as pl
import torch
from lightning.pytorch import callbacks as of_lightning
from torch import nn

from src.callbacks.pruning import Pruning
from src.errors import ConfigError

# Unsupported base classes of callbacks: the reason, and the alternative.
_CALLBACKS: dict[type[pl.Callback], str] = {
    of_lightning.BackboneFinetuning: (
        "unfreezes the attribute 'backbone' of the LightningModule, which has none: derive from BaseFinetuning, and "
        "freeze parts of pl_module.net"
    ),
    of_lightning.BasePredictionWriter: (
        "is called by Trainer.predict alone, which no command uses: leave it out, and predict by python -m src.predict"
    ),
    of_lightning.BatchSizeFinder: (
        "would train with another batch size than the recorded one: set data.batch_size, or try several by "
        "-m data.batch_size=64,128"
    ),
    of_lightning.GradientAccumulationScheduler: (
        "would take fewer optimizer steps than schedules are planned for: set a larger data.batch_size instead"
    ),
    of_lightning.LearningRateFinder: (
        "would train with another learning rate than the recorded one: search for it by -m optimizer.lr=1e-3,1e-2"
    ),
    of_lightning.ModelPruning: (
        "forgets its masks when a run is resumed, and saves other weights than were validated: use callbacks=pruning"
    ),
}
# Unsupported base classes that a custom task may support.
_OF_OTHER_TASKS = (of_lightning.BackboneFinetuning, of_lightning.GradientAccumulationScheduler)


def check_network(network: Callable[..., nn.Module], target: str) -> None:
    """Refuse a network that implements its own training, such as a LightningModule.

    Args:
        network: the class, or a function that returns a network.
        target: its name in the configuration.

    Raises:
        ConfigError: the network defines training steps.
    """
    for method in ("training_step", "configure_optimizers"):
        if hasattr(network, method):
            raise ConfigError(
                f"model._target_={target!r} has a method {method}, as a LightningModule does, which would never be called: "
                "name a torch.nn.Module that maps samples to logits; task.loss, optimizer and schedule say how it is trained."
            )


def check_optimizer(optimizer: type[torch.optim.Optimizer], target: str) -> None:
    """Refuse an optimizer that must compute the loss itself.

    Raises:
        ConfigError: its ``step`` cannot be called without a closure.
    """
    parameters = list(inspect.signature(optimizer.step).parameters.values())[1:]
    needed = [one.name for one in parameters if one.default is one.empty and one.kind < one.VAR_POSITIONAL]
    if needed:
        raise ConfigError(
            f"optimizer._target_={target!r} cannot take a step without {needed[0]!r}, and here the loss of a step is "
            "computed once, before it: choose another optimizer."
        )


def check_callback(callback: type[pl.Callback], name: str, is_builtin: bool = True) -> None:
    """Refuse a callback derived from an unsupported callback of Lightning.

    Args:
        callback: the class.
        name: its name in the message.
        is_builtin: whether the task is built in.

    Raises:
        ConfigError: the callback would have no effect, or another than documented.
    """
    for base, problem in _CALLBACKS.items():
        if issubclass(callback, base) and (is_builtin or base not in _OF_OTHER_TASKS):
            raise ConfigError(f"{name} is a {base.__name__} of Lightning's, which {problem}.")


def check_callbacks(callbacks: Sequence[pl.Callback], max_epochs: int) -> None:
    """Refuse callbacks that conflict with each other or would act only after the training.

    Raises:
        ConfigError: weights are both pruned and averaged, or pruned after the last epoch; or callbacks share a ``state_key``.
    """
    stateful = (one for one in callbacks if type(one).state_dict is not pl.Callback.state_dict)
    for key, number in Counter(one.state_key for one in stateful).items():
        if number > 1:
            raise ConfigError(
                f"callbacks: {number} have the state_key {key!r}, under which a checkpoint has one state: let their class define "
                "state_key by what differs between them, or leave all but one out."
            )
    for callback in callbacks:
        if not isinstance(callback, Pruning):
            continue
        if any(isinstance(other, of_lightning.WeightAveraging) for other in callbacks):
            raise ConfigError(
                "callbacks: pruning sets weights to zero, and an average of them is not: leave one of the two out."
            )
        if callback.end_epoch > max_epochs:
            raise ConfigError(
                f"callbacks.pruning.end_epoch={callback.end_epoch:g} must be at most trainer.max_epochs={max_epochs}."
            )
