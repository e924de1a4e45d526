"""What a configuration or a checkpoint may call by name.

``_target_`` runs what it names, so it may name only what stands here, and the name is checked before anything is
imported. The object found is then checked again: it must be defined where its name says, which shuts out whatever a
module merely imports (``src.model.mlp.torch.load``).
"""

import difflib
import importlib
import inspect
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from src.errors import ConfigError
from src.paths import ROOT

# Classes of ours: any public name defined in a module of the group's own package.
_PACKAGES = {
    "data": "src.data",
    "model": "src.model",
    "schedule": "src.model",
    "callbacks": "src.callbacks",
    "logger": "src.tracking",
}
# Classes of others: by exact name, or any public member of the one module named.
_MEMBERS = {"optimizer": "torch.optim"}
_EXACT = {"callbacks": {"lightning.pytorch.callbacks.ModelCheckpoint"}}

_NAME = re.compile(r"[a-z_]\w*(\.[a-z_]\w*)*\.[A-Za-z]\w*", re.ASCII)


def suggest(wrong: str, known: Collection[str]) -> str:
    """``; did you mean 'x'?`` for the nearest of the known names, or nothing."""
    nearest = difflib.get_close_matches(wrong, list(known), n=1, cutoff=0.6)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""


def check_name(target: object, group: str) -> str:
    """Return ``target`` if the group may name it; imports nothing.

    Raises:
        ConfigError: the name is not on the list.
    """
    if isinstance(target, str) and _NAME.fullmatch(target):
        module = target.rpartition(".")[0]
        if target in _EXACT.get(group, ()) or module == _MEMBERS.get(group):
            return target
        package = _PACKAGES.get(group)
        if package and module.startswith(f"{package}.") and (ROOT / f"{module.replace('.', '/')}.py").is_file():
            return target
    allowed = [f"a class in a module of {_PACKAGES[group]}"] if group in _PACKAGES else []
    allowed += [f"a member of {_MEMBERS[group]}"] if group in _MEMBERS else []
    allowed += sorted(_EXACT.get(group, ()))
    raise ConfigError(f"{group}._target_={target!r} is not allowed: it must be {', or '.join(allowed)}.")


def resolve(target: object, group: str) -> Callable[..., Any]:
    """Import what ``target`` names.

    Raises:
        ConfigError: the name is not on the list, does not exist, or leads to something defined elsewhere.
    """
    name = check_name(target, group)
    module_name, _, attribute = name.rpartition(".")
    found = getattr(importlib.import_module(module_name), attribute, None)
    # Libraries re-export their classes (torch.optim.Adam lives in torch.optim.adam); our own modules must define them.
    home = getattr(found, "__module__", "") or ""
    at_home = home == module_name if name.startswith("src.") else f"{home}.".startswith(f"{module_name}.")
    if not callable(found) or not at_home or getattr(found, "__qualname__", None) != attribute:
        raise ConfigError(f"{group}._target_={name!r}: {module_name} defines no {attribute!r}.")
    return found


def check_call(node: Mapping[str, Any], group: str, given: Collection[str] = ()) -> None:
    """Check that ``node`` fits the signature of its target, before anything is built.

    Args:
        node: ``_target_`` and the arguments the configuration sets.
        group: the configuration group it stands in.
        given: names of the arguments the program adds.

    Raises:
        ConfigError: an argument the target does not take, or one that is missing.
    """
    parameters = inspect.signature(resolve(node["_target_"], group)).parameters
    takes = {name for name, p in parameters.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    keys = {key for key in node if key != "_target_"}
    for key in sorted(keys - takes) if not takes_any else ():
        raise ConfigError(f"{group}.{key}: {node['_target_']} takes no {key!r}{suggest(key, takes)}")
    for name in sorted(takes - keys - set(given)):
        if parameters[name].default is inspect.Parameter.empty:
            raise ConfigError(f"{group}.{name} is missing: {node['_target_']} needs it.")


def build(node: Mapping[str, Any], group: str, *args: Any, **given: Any) -> Any:
    """Call what ``node['_target_']`` names with the node's other entries and what the program adds."""
    arguments = {key: value for key, value in node.items() if key != "_target_"}
    return resolve(node["_target_"], group)(*args, **arguments, **given)
