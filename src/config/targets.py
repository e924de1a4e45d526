"""What a configuration or a checkpoint may call by name.

``_target_`` runs what it names, so it may name only what stands here, and the name is checked before anything is
imported. The object found is then checked again: it must be defined where its name says, which shuts out whatever a
module merely imports (``src.models.mlp.torch.load``).
"""

import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

from src.errors import ConfigError, suggest
from src.masking import reveal
from src.paths import ROOT

# Groups of one object, and of several under names.
ONE = ("data", "task", "model", "optimizer", "schedule")
MANY = ("callbacks", "logger")
GROUPS = (*ONE, "trainer", *MANY)
# Parameters that the program sets, which are therefore no settings.
SUPPLIED: dict[str, tuple[str, ...]] = {
    "data": ("seed",),
    "task": ("net", "classes", "optimizer", "schedule"),
    "model": ("input_shape", "outputs"),
    "optimizer": ("params",),
    "schedule": ("optimizer", "steps_per_epoch", "max_epochs"),
    "callbacks": (),
    "logger": ("directory", "resumed_at"),
}

# Of ours: any public name defined in a module of the package; of others: any public member of the module, or exact names.
_PACKAGES = {"data": "src.data", "model": "src.models", "callbacks": "src.callbacks", "logger": "src.loggers"}
_MODULES = {
    "optimizer": ("torch.optim", "src.optim.optimizers"),
    "schedule": ("src.optim.schedules",),
    "task": ("src.tasks.classification",),
}
_EXACT = {"callbacks": {f"lightning.pytorch.callbacks.{name}" for name in ("ModelCheckpoint", "EarlyStopping")}}
# What the object must be a class of, all of them. A schedule is a function.
_KINDS = {
    "data": ("src.data.module.TensorData",),
    "task": ("src.tasks.classification.Classifier",),
    "model": ("torch.nn.Module",),
    "optimizer": ("torch.optim.Optimizer",),
    "callbacks": ("lightning.pytorch.Callback",),
    "logger": ("lightning.pytorch.loggers.Logger", "src.loggers.csv.OnOptimizerStep"),
}

_NAME = re.compile(r"[a-z_]\w*(\.[a-z_]\w*)*\.[A-Za-z]\w*", re.ASCII)


def check_name(target: object, group: str) -> str:
    """Return ``target`` if the group may name it; imports nothing.

    Raises:
        ConfigError: the name is not on the list.
    """
    if isinstance(target, str) and _NAME.fullmatch(target):
        module = target.rpartition(".")[0]
        if target in _EXACT.get(group, ()) or module in _MODULES.get(group, ()):
            return target
        package = _PACKAGES.get(group)
        if package and module.startswith(f"{package}.") and (ROOT / f"{module.replace('.', '/')}.py").is_file():
            return target
    allowed = [f"a class in a module of {_PACKAGES[group]}"] if group in _PACKAGES else []
    allowed += [f"a member of {module}" for module in _MODULES.get(group, ())]
    allowed += sorted(_EXACT.get(group, ()))
    raise ConfigError(f"{group}._target_={target!r} is not allowed: it must be {', or '.join(allowed)}.")


def resolve(target: object, group: str) -> Callable[..., Any]:
    """Import what ``target`` names.

    Raises:
        ConfigError: the name is not on the list, does not exist, or leads to something defined elsewhere.
    """
    name = check_name(target, group)
    module_name, _, attribute = name.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # a module of the user's own, which may hold any mistake
        raise ConfigError(f"{group}._target_={name!r}: {module_name} cannot be imported ({error}).") from error
    found = getattr(module, attribute, None)
    # Libraries re-export their classes (torch.optim.Adam lives in torch.optim.adam); our own modules must define them.
    home = getattr(found, "__module__", "") or ""
    at_home = home == module_name if name.startswith("src.") else f"{home}.".startswith(f"{module_name}.")
    if not callable(found) or not at_home or getattr(found, "__qualname__", None) != attribute:
        raise ConfigError(
            f"{group}._target_={name!r}: {module_name} defines no {attribute!r}{suggest(attribute, dir(module))}"
        )
    for kind in _KINDS.get(group, ()):
        base = getattr(importlib.import_module(kind.rpartition(".")[0]), kind.rpartition(".")[2])
        if not (isinstance(found, type) and issubclass(found, base) and (found is not base or group == "task")):
            raise ConfigError(f"{group}._target_={name!r} must be a class derived from {kind}.")
    return found


def check_accepts(target: str, group: str, *names: str) -> None:
    """Check that an object accepts what the program passes to it by name.

    Raises:
        ConfigError: it has no such parameter.
    """
    parameters = inspect.signature(resolve(target, group)).parameters
    if any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        return
    if missing := [name for name in names if name not in parameters]:
        raise ConfigError(
            f"{group}._target_: {target} must accept an argument {missing[0]!r}, which the program passes."
        )


def build(node: Mapping[str, Any], group: str, *args: Any, **given: Any) -> Any:
    """Call what ``node['_target_']`` names with the node's other entries, secrets revealed, and what the program adds."""
    arguments = {key: reveal(value, f"{group}.{key}") for key, value in node.items() if key != "_target_"}
    return resolve(node["_target_"], group)(*args, **arguments, **given)
