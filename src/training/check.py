"""Trial construction of the objects of a configuration, without data, to report errors before a run begins."""

import importlib.util
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import nn

from src.config.targets import build, resolve
from src.errors import ConfigError, UserError, not_installed
from src.loggers.csv import OnOptimizerStep
from src.numerics import one_thread
from src.tasks.base import SupervisedTask
from src.training.build import build_optimizer, build_schedule, make_data, make_network, make_task
from src.training.finetuning import freeze, initialize
from src.training.teacher import load_teacher
from src.training.unsupported import check_callback, check_callbacks, check_network, check_optimizer

log = logging.getLogger(__name__)

# Enough for several steps in each phase of any schedule.
_STEPS_PER_EPOCH = 100
# Packages of Lightning's loggers, as imported; and as installed, if this project has an extra for them.
_REQUIRED = {"WandbLogger": "wandb", "MLFlowLogger": "mlflow", "CometLogger": "comet_ml", "NeptuneLogger": "neptune"}
_EXTRAS = {"wandb": "wandb", "mlflow": "mlflow-skinny"}
_NO_LOADER = pl.LightningModule.train_dataloader


def check_targets(config: Mapping[str, Any], objects: Mapping[str, Any] = {}) -> None:
    """Build all objects of a configuration except its loggers; the network is built without memory for its weights.

    Args:
        config: a checked configuration.
        objects: ``task`` and ``data`` that replace the configured ones.

    Raises:
        ConfigError: one line for each object that does not exist, cannot be built with its settings, or would be ignored.
        UserError: a data file or a file of weights is missing or damaged.
    """
    problems: list[str] = []
    for check in (partial(_check_training, objects=objects), _check_callbacks, _check_loggers):
        try:
            with one_thread():  # constructors compute, such as that of a module that saves a copy of its network
                check(config)
        except ConfigError as error:
            problems += str(error).splitlines()
        except UserError:
            raise
        except Exception:  # possibly because data is missing; if the object is at fault, the run fails and is recorded
            log.debug("an object could not be built ahead of the run", exc_info=True)
    if problems:
        raise ConfigError("\n".join(problems))


def _check_training(config: Mapping[str, Any], objects: Mapping[str, Any]) -> None:
    """Build data module, network, task, optimizer and schedule, in this order, since each depends on the previous ones."""
    data = objects["data"] if "data" in objects else _named("data", make_data, config)
    kind: Any = type(objects["task"]) if "task" in objects else resolve(config["task"]["_target_"], "task")
    if data is None and kind.train_dataloader is _NO_LOADER:
        raise ConfigError(f"data=none: {kind.__name__} has no train_dataloader of its own: choose a data module.")
    package = getattr(kind, "requires", None)
    if package and importlib.util.find_spec(package) is None:
        raise ConfigError(not_installed(f"task: {kind.__name__}", package))
    net = None if config["model"] is None else _network(config, data)
    task = objects["task"] if "task" in objects else _named("task", make_task, config, data, net)
    _check_monitor(task, config["monitor"])
    initialize(task, config["init_from"])
    load_teacher(task, data)
    freeze(task, config["freeze"])
    if config["optimizer"] is None:
        if is_builtin(config):
            raise ConfigError(f"optimizer=none: {kind.__name__} is trained by an optimizer: choose one.")
        return
    if is_builtin(config):
        check_optimizer(resolve(config["optimizer"]["_target_"], "optimizer"), config["optimizer"]["_target_"])  # type: ignore[arg-type]
    parameters = list(task.parameters()) or [nn.Parameter(torch.zeros(1))]
    optimizer = _named("optimizer", build_optimizer, config, parameters, task)
    lengths = {"steps_per_epoch": _STEPS_PER_EPOCH, "max_epochs": config["trainer"]["max_epochs"]}
    if config["schedule"] is not None:
        _named("schedule", build_schedule, config, optimizer, lambda: lengths)


def _check_monitor(task: pl.LightningModule, monitor: str | None) -> None:
    """Refuse a metric that the settings of a built-in task leave out, such as that of a head which is not chosen."""
    stage, _, name = (monitor or "").partition("/")
    if isinstance(task, SupervisedTask) and stage == "val" and name not in (logged := ["loss", *task.val_metrics]):
        known = ", ".join(f"val/{one}" for one in logged)
        raise ConfigError(f"monitor={monitor} is not logged with these settings of the task, which logs {known}.")


def is_builtin(config: Mapping[str, Any]) -> bool:
    """Whether a configuration trains one of the built-in tasks."""
    target = str(config["task"]["_target_"])
    return target.startswith("src.tasks.") and not target.startswith("src.tasks.given.")  # placeholder of an object


def _network(config: Mapping[str, Any], data: pl.LightningDataModule | None) -> nn.Module:
    """A network whose weights have no values: memory that is never written is not allocated."""
    check_network(resolve(config["model"]["_target_"], "model"), config["model"]["_target_"])
    try:
        with torch.device("meta"):
            net = make_network(config, data)
    except ConfigError:
        raise
    except Exception:  # possibly because it reads values of weights
        net = _named("model", make_network, config, data)
    return net.to_empty(device="cpu")  # not every optimizer accepts weights on the meta device


def _check_callbacks(config: Mapping[str, Any]) -> None:
    callbacks = []
    for name, node in config["callbacks"].items():
        prefix = f"callbacks.{name}"
        check_callback(resolve(node["_target_"], "callbacks"), prefix, is_builtin(config))  # type: ignore[arg-type]
        callbacks.append(_named(prefix, partial(build, prefix=prefix), node, "callbacks"))
    check_callbacks(callbacks, config["trainer"]["max_epochs"])


def _check_loggers(config: Mapping[str, Any]) -> None:
    for name, node in config["logger"].items():  # not built, which may open files
        logger: Any = resolve(node["_target_"], "logger")
        package = next((_REQUIRED[base.__name__] for base in logger.__mro__ if base.__name__ in _REQUIRED), None)
        if package and importlib.util.find_spec(package) is None:
            raise ConfigError(not_installed(f"logger.{name}", package, _EXTRAS.get(package), extra=package in _EXTRAS))
        if issubclass(logger, OnOptimizerStep):
            logger.check({key: value for key, value in node.items() if key != "_target_"}, f"logger.{name}")


def _named(prefix: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function; errors it raises about its arguments are reported for the settings below ``prefix``."""
    try:
        return function(*args, **kwargs)
    except (TypeError, ValueError, RuntimeError, MisconfigurationException) as error:
        raise ConfigError(f"{prefix}: {' '.join(str(error).split())}") from error
