"""The objects of a configuration: data module, network, task, loggers."""

import inspect
import logging
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import lightning.pytorch as pl
import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from src.config.schemas import PARAM_GROUPS
from src.config.signatures import parameter_names
from src.config.targets import build, resolve, supplied_to
from src.data.module import TensorData
from src.errors import ConfigError, UserError
from src.optim.schedules import interval_of
from src.training.finetuning import in_groups

log = logging.getLogger(__name__)

# Parameters by which a network may take its number of outputs.
_NAMES_OF_OUTPUTS = ("outputs", "num_classes", "out_features", "classes", "n_classes", "num_outputs")


def make_data(config: Mapping[str, Any]) -> pl.LightningDataModule | None:
    """Build the data module of a checked configuration, if it has one; no data is loaded."""
    node = config["data"]
    return None if node is None else build(node, "data", supplied={"seed": config["seed"]})


def make_network(config: Mapping[str, Any], data: pl.LightningDataModule | None) -> nn.Module:
    """Build the network for a data module. ``input_shape`` and ``outputs`` are passed to it if it has these parameters.

    Raises:
        ConfigError: the network requires one of them, and neither the settings nor the data module and the task define it; or
            ``_target_`` does not return a network.
    """
    node, supplied = config["model"], dict[str, Any]()
    if (shape := getattr(data, "input_shape", None)) is not None:
        supplied["input_shape"] = list(shape)
    if (outputs := outputs_of(config, data)) is not None:
        supplied["outputs"] = outputs
    network = resolve(node["_target_"], "model")
    for name in supplied_to(network, "model"):
        if name not in supplied and name not in node and _is_required(network, name):
            source = (
                f"{type(data).__name__} has no attribute input_shape" if name == "input_shape" else "the task does not"
            )
            raise ConfigError(f"model.{name} is required by {node['_target_']}, and {source}: set +model.{name}=...")
    net = build(node, "model", supplied=supplied)
    if not isinstance(net, nn.Module):
        raise ConfigError(
            f"model: {node['_target_']} returned a {type(net).__name__}: it must return a torch.nn.Module."
        )
    if shape is not None and any(is_lazy(parameter) for parameter in net.parameters()):
        with torch.no_grad():
            net.eval()(
                torch.zeros(1, *shape)
            )  # gives lazy layers their shapes, before an optimizer gets their parameters
        net.train()
    return net


def check_outputs(net: nn.Module, config: Mapping[str, Any], data: pl.LightningDataModule | None) -> None:
    """Run two samples of zeros through a network, if the task defines how many outputs it must have.

    Called only in the process that trains, since a network may hang or end the process.

    Raises:
        ConfigError: the network has another number of outputs.
    """
    outputs, shape = outputs_of(config, data), getattr(data, "input_shape", None)
    if outputs is None or shape is None:
        return
    modes = {module: module.training for module in net.modules()}
    try:
        with torch.no_grad():
            found = net.eval()(torch.zeros(2, *shape))
    except Exception:  # it may expect other samples than these, which the first batch will show
        log.debug("the network could not be tried", exc_info=True)
        return
    finally:
        for module, mode in modes.items():
            module.training = mode
    if isinstance(found, torch.Tensor) and tuple(found.shape) != (2, outputs):
        # A function, such as those of torchvision.models, may pass **kwargs to the class.
        accepted = [*parameter_names(resolve(config["model"]["_target_"], "model")), *parameter_names(type(net))]
        name = next((name for name in _NAMES_OF_OUTPUTS if name in accepted), None)
        remedy = f"set +model.{name}={outputs}" if name else "change its last layer"
        raise ConfigError(
            f"model: {type(net).__name__} maps 2 samples of shape {tuple(shape)} to {tuple(found.shape)}, and the task needs "
            f"{(2, outputs)}: {remedy}."
        )


def _is_required(target: Callable[..., Any], name: str) -> bool:
    parameter = inspect.signature(target).parameters.get(name)
    return parameter is not None and parameter.default is parameter.empty


def outputs_of(config: Mapping[str, Any], data: pl.LightningDataModule | None) -> int | None:
    """Number of outputs of the network, as defined by the task's static method ``outputs(data, settings)``, if it has one."""
    task = resolve(config["task"]["_target_"], "task")
    if not isinstance(inspect.getattr_static(task, "outputs", None), staticmethod):
        return None
    return int(task.outputs(data, config["task"]))  # type: ignore[attr-defined]


def make_task(
    config: Mapping[str, Any],
    data: pl.LightningDataModule | None,
    net: nn.Module | None = None,
    factory: Callable[..., pl.LightningModule] | None = None,
) -> pl.LightningModule:
    """Build the LightningModule for a data module.

    Arguments are passed if the constructor has the parameter: ``net``; ``optimizer``, a function of parameters; ``schedule`` or
    ``scheduler``, a function of the optimizer; ``seed``; and the attributes of the data module listed in ``from_data``.

    Args:
        config: a checked configuration.
        data: the data module, which need not be loaded; None if the task defines its own loaders.
        net: the network, if it is already built.
        factory: called in place of ``_target_``.
    """
    names = getattr(resolve(config["task"]["_target_"], "task"), "from_data", ())
    supplied: dict[str, Any] = {name: getattr(data, name) for name in names if hasattr(data, name)}
    supplied["seed"] = config["seed"]
    if config["model"] is not None:
        supplied["net"] = make_network(config, data) if net is None else net

    makers = {"optimizer": MakeOptimizer(config), "schedule": MakeSchedule(config), "scheduler": MakeSchedule(config)}
    groups = {"optimizer": "optimizer", "schedule": "schedule", "scheduler": "schedule"}
    supplied |= {name: maker for name, maker in makers.items() if config[groups[name]] is not None}
    task: pl.LightningModule = build(config["task"], "task", supplied=supplied, factory=factory)
    for maker in makers.values():
        maker.task = task
    return task


class _Maker:
    """Factory that a task calls in ``configure_optimizers``. Picklable, since ``save_hyperparameters`` drops what is not."""

    task: pl.LightningModule | None = None  # set once it is built

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config

    def __getstate__(self) -> dict[str, Any]:
        return {"config": self.config}

    def _built(self) -> pl.LightningModule:
        if self.task is None:
            raise UserError("the schedule is planned for the whole training: call it in configure_optimizers.")
        return self.task


class MakeOptimizer(_Maker):
    """Factory of the configured optimizer."""

    def __call__(self, params: Iterable[nn.Parameter]) -> Optimizer:
        """Build it for parameters of the task."""
        return build_optimizer(self.config, params, self.task)


class MakeSchedule(_Maker):
    """Factory of the configured learning rate schedule."""

    def __call__(self, optimizer: Optimizer) -> LRScheduler | None:
        """Build it for an optimizer of the task; None if it is a constant learning rate."""
        return build_schedule(self.config, optimizer, lambda: _lengths(self._built().trainer))


def build_optimizer(config: Mapping[str, Any], params: Iterable[nn.Parameter], task: nn.Module | None) -> Optimizer:
    """Build the optimizer of a task's parameters; the task is None while its constructor runs."""
    node = dict(config["optimizer"])
    optimizer: Optimizer = build(node, "optimizer", in_groups(params, node.pop(PARAM_GROUPS, []), task))
    return optimizer


def build_schedule(
    config: Mapping[str, Any], optimizer: Optimizer, lengths: Callable[[], Mapping[str, Any]]
) -> LRScheduler | None:
    """Build the learning rate schedule, which may depend on the length of the training.

    Raises:
        UserError: ``_target_`` returned something other than a scheduler or None.
    """
    node = config["schedule"]
    needs = {"steps_per_epoch", "max_epochs"} & {*supplied_to(resolve(node["_target_"], "schedule"), "schedule")}
    schedule = build(node, "schedule", optimizer, supplied=lengths() if needs else {})
    if schedule is not None and not isinstance(schedule, LRScheduler):
        raise UserError(
            f"the schedule returned a {type(schedule).__name__}: it must return one scheduler of torch.optim.lr_scheduler, "
            "or None."
        )
    return schedule


class ScheduleSteps(pl.callbacks.Checkpoint):
    """Steps learning rate schedules such that checkpoints contain every step.

    Schedules that count optimizer steps are stepped after every optimizer step, regardless of the interval that a task configures.
    Lightning steps ``ReduceLROnPlateau`` after the epoch's checkpoint has been saved, so that a resumed run would lack that
    step, and skips it in a resumed epoch; here it is stepped before the checkpoint. The class is a ``Checkpoint`` so that it
    runs after the metrics of the epoch are logged; it must precede the callbacks that save.
    """

    _BEFORE_CHECKPOINTS = "epoch, before checkpoints"  # an interval that Lightning's loop ignores

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set the intervals."""
        for one in trainer.lr_scheduler_configs:
            if interval_of(one.scheduler) == "step":
                one.interval = "step"
            elif one.reduce_on_plateau and one.interval == "epoch":
                one.interval = self._BEFORE_CHECKPOINTS

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Step plateau schedules, unless the training ends within the epoch."""
        loop = trainer.fit_loop.epoch_loop
        if loop._num_ready_batches_reached():
            loop.update_lr_schedulers(self._BEFORE_CHECKPOINTS, update_plateau_schedulers=True)


def _lengths(trainer: pl.Trainer) -> dict[str, Any]:
    """``steps_per_epoch`` and ``max_epochs`` of a training, possibly limited by ``max_steps``."""
    if isinstance(data := trainer.datamodule, TensorData):  # type: ignore[attr-defined]
        batches = float(data.steps_per_epoch)
        limit = trainer.limit_train_batches
        batches = min(batches, limit) if isinstance(limit, int) else max(1.0, batches * limit // 1)
    else:
        _ = trainer.estimated_stepping_batches  # loads the data
        batches = trainer.num_training_batches
    if batches == math.inf:
        raise UserError(
            "the schedule is planned for epochs of a known length, and the training data has none: set "
            "+trainer.limit_train_batches, or another schedule."
        )
    steps, epochs = math.ceil(batches / trainer.accumulate_grad_batches), trainer.max_epochs or 1
    return {
        "steps_per_epoch": steps,
        "max_epochs": epochs if trainer.max_steps < 0 else min(epochs, trainer.max_steps / steps),
    }
