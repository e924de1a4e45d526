"""The objects of a configuration, built once without data, so that what is wrong with them is reported before a run begins."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import nn

from src.config.targets import build, check_accepts, resolve
from src.data.module import TensorData
from src.errors import ConfigError
from src.tasks.losses import DEFAULT, outputs_for
from src.training.unsupported import check_callback, check_callbacks, check_network, check_optimizer

log = logging.getLogger(__name__)

# Enough for every schedule to have several steps in each of its phases.
_STEPS_PER_EPOCH = 100
_OF_DATA = ("input_shape", "classes", "load")


def check_targets(config: Mapping[str, Any]) -> None:
    """Build every object that a configuration names but its loggers, the network without memory for its weights.

    Raises:
        ConfigError: one line for each object that does not exist, cannot be built with its settings, or would be ignored.
    """
    problems: list[str] = []
    for check in (_check_training, _check_callbacks, _check_loggers):
        try:
            check(config)
        except ConfigError as error:
            problems += str(error).splitlines()
        except Exception:  # perhaps for want of data; if an object is at fault, the run fails and is recorded
            log.debug("an object could not be built ahead of the run", exc_info=True)
    if problems:
        raise ConfigError("\n".join(problems))


def _check_training(config: Mapping[str, Any]) -> None:
    """Data, network, task, optimizer and schedule, each of which needs those before it."""
    target = config["data"]["_target_"]
    dataset: Any = resolve(target, "data")
    if missing := [name for name in _OF_DATA if getattr(dataset, name, None) is getattr(TensorData, name, None)]:
        raise ConfigError(f"data._target_={target}: the class must define {', '.join(missing)}.")
    data = _built(config["data"], "data", seed=config["seed"])
    outputs = outputs_for(config["task"].get("loss", DEFAULT), data.classes)
    check_network(resolve(config["model"]["_target_"], "model"), config["model"]["_target_"])  # type: ignore[arg-type]
    net = _network(config["model"], input_shape=list(data.input_shape), outputs=outputs)
    _built(config["task"], "task", net=net, classes=data.classes)
    check_optimizer(resolve(config["optimizer"]["_target_"], "optimizer"), config["optimizer"]["_target_"])  # type: ignore[arg-type]
    optimizer = _built(config["optimizer"], "optimizer", net.parameters())
    lengths = {"steps_per_epoch": _STEPS_PER_EPOCH, "max_epochs": config["trainer"]["max_epochs"]}
    _built(config["schedule"], "schedule", optimizer, **lengths)


def _network(node: Mapping[str, Any], **supplied: Any) -> nn.Module:
    """A network whose weights have no values: memory that is never written is not allocated."""
    check_accepts(node["_target_"], "model", *supplied)
    try:
        with torch.device("meta"):
            net: nn.Module = build(node, "model", **supplied)
    except Exception:  # perhaps because it reads values
        net = _built(node, "model", **supplied)
    return net.to_empty(device="cpu")  # not every optimizer accepts weights on the meta device


def _check_callbacks(config: Mapping[str, Any]) -> None:
    callbacks = []
    for name, node in config["callbacks"].items():
        prefix = f"callbacks.{name}"
        check_callback(resolve(node["_target_"], "callbacks"), prefix)  # type: ignore[arg-type]
        callbacks.append(_named(prefix, build, node, "callbacks"))
    check_callbacks(callbacks, config["trainer"]["max_epochs"])


def _check_loggers(config: Mapping[str, Any]) -> None:
    for node in config["logger"].values():  # not built, which may open files
        check_accepts(node["_target_"], "logger", "directory", "resumed_at")


def _built(node: Mapping[str, Any], group: str, *args: Any, **supplied: Any) -> Any:
    check_accepts(node["_target_"], group, *supplied)
    return _named(group, build, node, group, *args, **supplied)


def _named(prefix: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function; what it says of its arguments is an error in the settings below ``prefix``."""
    try:
        return function(*args, **kwargs)
    except (TypeError, ValueError, RuntimeError, MisconfigurationException) as error:
        raise ConfigError(f"{prefix}: {' '.join(str(error).split())}") from error
