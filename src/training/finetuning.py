"""Fine-tuning: initialization from trained weights, frozen parameters, learning rates per layer."""

import fnmatch
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from src.errors import ConfigError
from src.training.checkpoints import load

log = logging.getLogger(__name__)
_NAMED = 5  # number of parameters listed in a message


def initialize(task: pl.LightningModule, init_from: Mapping[str, Any] | None) -> list[str]:
    """Set the weights of a task to those of a checkpoint.

    Args:
        task: its parameters and buffers are overwritten.
        init_from: ``path`` of the file, and ``strict``; None changes nothing. The file contains a state_dict of the task or of
            its attribute ``net``, or has one under the key ``state_dict``. Without ``strict``, parameters whose name or shape does
            not match keep their initial values.

    Returns:
        The names that did not match, of the task and of the file.

    Raises:
        ConfigError: with ``strict`` a name or a shape does not match; without, none does.
        UserError: the file cannot be read.
    """
    if init_from is None:
        return []
    path, strict = init_from["path"], init_from["strict"]
    given = _state_dict(load(Path(path)), path)
    own = task.state_dict()
    if not own.keys() & given.keys():
        given = {f"net.{name}": value for name, value in given.items()}
    matching = {
        name: value
        for name, value in given.items()
        if name in own and (is_lazy(own[name]) or own[name].shape == value.shape)
    }
    others = sorted((own.keys() | given.keys()) - matching.keys())
    if not matching or (strict and others):
        remedy = "" if not matching else f": init_from={{path:{path},strict:false}} initializes the others"
        raise ConfigError(f"init_from={path}: {_listed(others)} differ in name or shape from the task's{remedy}.")
    task.load_state_dict(matching, strict=False)
    if others:
        log.warning("init_from=%s: %d of %d initialized; not %s", path, len(matching), len(own), ", ".join(others))
    return others


def _state_dict(content: Any, path: str) -> dict[str, Tensor]:
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise ConfigError(f"init_from={path}: the file has no state_dict, a mapping of names to tensors.")
    return dict(state)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def freeze(task: pl.LightningModule, patterns: Sequence[str]) -> None:
    """Freeze parameters.

    Args:
        task: ``requires_grad`` of the matching parameters is set to False.
        patterns: patterns of names, as in ``net.layers.0.*``.

    Raises:
        ConfigError: a pattern matches no parameter, or no parameter is left to train.
    """
    named = dict(task.named_parameters())
    for pattern in patterns:
        for name in _matching(named, pattern, "freeze"):
            named[name].requires_grad_(False)
    if patterns and not any(parameter.requires_grad for parameter in named.values()):
        raise ConfigError(f"freeze={list(patterns)} leaves no parameter to train.")


def in_groups(
    params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
    groups: Sequence[Mapping[str, Any]],
    task: nn.Module | None,
) -> list[Any]:
    """Divide parameters into optimizer parameter groups with separate settings.

    Args:
        params: the parameters to optimize.
        groups: ``parameters``, a pattern of names, and settings for each; a parameter belongs to the first match.
        task: provides the names; None while its constructor runs.

    Returns:
        The parameter groups; the first contains the parameters that match no pattern.

    Raises:
        ConfigError: a pattern matches no parameter, or the task divides its parameters itself.
    """
    rest = list(params)
    if not groups:
        return rest
    if task is None:
        raise ConfigError(
            "optimizer.param_groups: the task builds its optimizer in its constructor, where its parameters have no names: "
            "leave it out."
        )
    if any(isinstance(one, dict) for one in rest):
        raise ConfigError(
            f"optimizer.param_groups: {type(task).__name__} divides its parameters into groups itself: leave it out."
        )
    named = {name: one for name, one in task.named_parameters() if any(one is other for other in rest)}
    found = []
    for settings in groups:
        pattern = settings["parameters"]
        names = _matching(named, pattern, "optimizer.param_groups")
        members = [named.pop(name) for name in names]
        found.append({"params": members, **{key: value for key, value in settings.items() if key != "parameters"}})
    return [{"params": list(named.values())}, *found] if named else found


def _matching(names: Iterable[str], pattern: str, setting: str) -> list[str]:
    known = list(names)
    if found := fnmatch.filter(known, pattern):
        return found
    raise ConfigError(f"{setting}: {pattern!r} matches no parameter: there are {_listed(known)}.")
