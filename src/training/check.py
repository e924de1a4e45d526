"""The objects of a configuration, built once without data, so that what is wrong with them is reported before a run begins."""

from collections.abc import Mapping
from typing import Any

import torch

from src.config.targets import build, check_accepts, resolve
from src.data.module import TensorData
from src.errors import ConfigError
from src.tasks.losses import DEFAULT, outputs_for
from src.training.fit import make_task
from src.training.unsupported import check_callback, check_callbacks, check_network, check_optimizer

# Enough for every schedule to have several steps in each of its phases.
_STEPS_PER_EPOCH = 100
_DATA = ("input_shape", "classes", "load")


class _NotBuilt(Exception):
    """An object cannot be built without data or without a device; if it is at fault, the run itself reports it."""


def check_targets(config: Mapping[str, Any]) -> None:
    """Build every object that a configuration names, the network without memory for its weights.

    Raises:
        ConfigError: one line for each object that does not exist, cannot be built with its settings, or would be ignored.
    """
    problems: list[str] = []
    for group in (_check_training, _check_callbacks, _check_loggers):
        try:
            group(config)
        except ConfigError as error:
            problems += str(error).splitlines()
        except _NotBuilt:
            continue
    if problems:
        raise ConfigError("\n".join(problems))


def _check_training(config: Mapping[str, Any]) -> None:
    """Data, network, task, optimizer and schedule, each of which needs those before it."""
    target = config["data"]["_target_"]
    dataset: Any = resolve(target, "data")
    if missing := [name for name in _DATA if getattr(dataset, name, None) is getattr(TensorData, name, None)]:
        raise ConfigError(f"data._target_={target}: the class must define {', '.join(missing)}.")
    data = _built(config["data"], "data", seed=config["seed"])
    outputs = outputs_for(config["task"].get("loss", DEFAULT), data.classes)
    check_network(resolve(config["model"]["_target_"], "model"), config["model"]["_target_"])  # type: ignore[arg-type]
    with torch.device("meta"):
        net = _built(config["model"], "model", input_shape=list(data.input_shape), outputs=outputs)
        make_task(config, data)
    check_optimizer(resolve(config["optimizer"]["_target_"], "optimizer"), config["optimizer"]["_target_"])  # type: ignore[arg-type]
    # Optimizers do not accept every option for weights on the meta device; memory that is not written is not allocated.
    optimizer = _built(config["optimizer"], "optimizer", net.to_empty(device="cpu").parameters())
    lengths = {"steps_per_epoch": _STEPS_PER_EPOCH, "max_epochs": config["trainer"]["max_epochs"]}
    _built(config["schedule"], "schedule", optimizer, **lengths)


def _check_callbacks(config: Mapping[str, Any]) -> None:
    callbacks = []
    for name, node in config["callbacks"].items():
        check_callback(resolve(node["_target_"], "callbacks"), f"callbacks.{name}")  # type: ignore[arg-type]
        callbacks.append(_built(node, "callbacks", prefix=f"callbacks.{name}"))
    check_callbacks(callbacks)


def _check_loggers(config: Mapping[str, Any]) -> None:
    for node in config["logger"].values():  # which may open files when they are built
        check_accepts(node["_target_"], "logger", "directory", "resumed_at")


def _built(node: Mapping[str, Any], group: str, *args: Any, prefix: str | None = None, **supplied: Any) -> Any:
    check_accepts(node["_target_"], group, *supplied)
    try:
        return build(node, group, *args, **supplied)
    except ConfigError:
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{prefix or group}: {' '.join(str(error).split())}") from error
    except Exception as error:
        raise _NotBuilt from error
