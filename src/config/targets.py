"""Resolution of ``_target_`` names in configurations and checkpoints, and instantiation of the objects.

A target is a class or a function of this project, of torch, torchvision, torchmetrics or lightning, or of a package listed
in pyproject.toml under ``[tool.tracking] trusted``. The name is checked before anything is imported. The imported object is
checked before it is called: it must be defined in the package or module of its name, and be of the kind that its config group
requires. The libraries' functions that load code or start processes are of no such kind.
"""

import importlib
import re
import tomllib
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

from src.config.signatures import is_plain, parameter_names, returns
from src.errors import ConfigError, suggest
from src.masking import reveal
from src.paths import ROOT

# Config groups of a single object, and of several named objects.
ONE = ("data", "task", "model", "optimizer", "schedule")
MANY = ("callbacks", "logger")
GROUPS = (*ONE, "trainer", *MANY)
# In place of a group: an object that is the value of another object's setting.
NESTED = "nested"
# Key of a nested node, as in Hydra: the value is a ``functools.partial`` of the target.
PARTIAL = "_partial_"
# Constructor parameters that the program passes to the objects of each group; all other parameters are settings. Those of
# networks and loggers can also be set, which takes precedence.
SUPPLIED: dict[str, tuple[str, ...]] = {
    "data": ("seed",),
    "task": ("net", "optimizer", "schedule", "scheduler", "seed"),
    "model": ("input_shape", "outputs"),
    "optimizer": ("params",),
    "schedule": ("optimizer", "steps_per_epoch", "max_epochs"),
    "callbacks": (),
    "logger": ("directory", "resumed_at", "save_dir", "id", "run_id"),
    NESTED: (),
}
MAY_BE_SET = ("model", "logger")
# Groups that only some tasks take, with the constructor parameters that show it.
TAKEN_BY = {"model": ("net",), "optimizer": ("optimizer",), "schedule": ("schedule", "scheduler")}
# Settings of the trainer group that are not arguments of lightning.pytorch.Trainer.
OWN_OF_TRAINER = ("threads", "max_minutes")
# Defaults of arguments of lightning.pytorch.Trainer that differ from Lightning's.
TRAINER_DEFAULTS: dict[str, Any] = {"deterministic": "warn", "num_sanity_val_steps": 0, "enable_model_summary": False}
# Arguments of lightning.pytorch.Trainer that cannot be set, and what to use instead.
OWNED_BY_TRAINING = {
    "logger": "loggers are chosen by the group logger, as in logger=csv",
    "callbacks": "callbacks are chosen by the group callbacks, as in callbacks=early_stopping",
    "plugins": "precision, checkpoint files and the cluster are the program's: see trainer.precision and docs/clusters.md",
    "default_root_dir": "a run has its own directory; the environment variable OUTPUTS_DIR moves all of them",
    "enable_checkpointing": "checkpoints are written by callbacks.best and callbacks.last; leave them out by ~callbacks.best",
    "enable_progress_bar": "the progress bar is callbacks.progress; leave it out by ~callbacks.progress",
    "fast_dev_run": "it trains without checkpoints and loggers, which a run consists of: use debug=one_batch",
    "barebones": "it trains without checkpoints and loggers, which a run consists of: use callbacks=none logger=none",
    "enable_autolog_hparams": "the whole configuration is in the run's record",
    "model_registry": "a run is uploaded by a logger only, as by logger=mlflow",
    "limit_predict_batches": "no command calls Trainer.predict",
}

_LIBRARIES = ("torch", "torchvision", "torchmetrics", "lightning")
_KINDS: dict[str, tuple[str, ...]] = {
    "data": ("lightning.pytorch.LightningDataModule",),
    "task": ("lightning.pytorch.LightningModule",),
    "model": ("torch.nn.Module",),
    "optimizer": ("torch.optim.Optimizer",),
    "schedule": ("torch.optim.lr_scheduler.LRScheduler",),
    "callbacks": ("lightning.pytorch.Callback",),
    "logger": ("lightning.pytorch.loggers.Logger",),
    NESTED: (
        "torch.nn.Module",
        "torch.optim.Optimizer",
        "torch.optim.lr_scheduler.LRScheduler",
        "torchmetrics.Metric",
        "lightning.pytorch.Callback",
        "lightning.pytorch.loggers.Logger",
        "lightning.pytorch.profilers.Profiler",
        "lightning.pytorch.strategies.Strategy",
        "torch.utils.data.Dataset",
        "torch.utils.data.Sampler",
        "torchvision.transforms.v2.Transform",
    ),
}
# Groups whose target may be a function, with the allowed prefixes for functions of the libraries, which also define torch.hub.load.
_FUNCTIONS: dict[str, tuple[str, ...]] = {"model": ("torchvision.models.",), "schedule": ()}

# Modules of the libraries whose classes unpickle unverified files.
_UNPICKLES = ("torchvision.datasets.lsun",)

_NAME = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*)+", re.ASCII)


@cache
def trusted_packages() -> tuple[str, ...]:
    """The trusted packages besides the libraries: ``src``, and those listed in pyproject.toml.

    Raises:
        ConfigError: the list cannot be read or is invalid.
    """
    try:
        table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        listed = table.get("tool", {}).get("tracking", {}).get("trusted", [])
    except FileNotFoundError:
        listed = []
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError(f"pyproject.toml cannot be read: {error}.") from error
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise ConfigError('pyproject.toml: trusted must be a list of package names, as in trusted = ["examples"].')
    return ("src", *listed)


def check_name(target: object, group: str) -> str:
    """Return ``target`` if it is a name in a trusted package; imports nothing.

    Raises:
        ConfigError: ``target`` is not a qualified name, its package is not trusted, or its module does not exist.
    """
    if not isinstance(target, str) or not _NAME.fullmatch(target):
        raise ConfigError(f"{group}._target_={target!r} must be the full name of a class, as in torch.optim.Adam.")
    package, own = target.partition(".")[0], trusted_packages()
    if package not in (*own, *_LIBRARIES):
        line = f"trusted = [{', '.join(repr(name) for name in (*own[1:], package))}]".replace("'", '"')
        raise ConfigError(
            f"{group}._target_={target!r} is not allowed: {package} is not a trusted package; if you trust its code, write "
            f"{line} below [tool.tracking] in pyproject.toml."
        )
    module = ROOT.joinpath(*target.split(".")[:-1])
    if (ROOT / package).is_dir() and not module.with_suffix(".py").is_file() and not module.is_dir():
        raise ConfigError(f"{group}._target_={target!r}: there is no module {target.rpartition('.')[0]}.")
    return target


def resolve(target: object, group: str) -> Callable[..., Any]:
    """Import the class or function named ``target``.

    Raises:
        ConfigError: ``target`` is not in a trusted package, does not exist, is defined elsewhere, or is of the wrong kind for
            the group.
    """
    name = check_name(target, group)
    module_name, _, attribute = name.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # importing a custom module may raise anything
        raise ConfigError(f"{group}._target_={name!r}: {module_name} cannot be imported ({error}).") from error
    found = getattr(module, attribute, None)
    # A package may export only names of its own modules (torch.optim.Adam is defined in torch.optim.adam).
    home = getattr(found, "__module__", "") or ""
    at_home = home == module_name or home.startswith(f"{module_name}.")
    if not callable(found) or not at_home or getattr(found, "__qualname__", None) != attribute:
        raise ConfigError(
            f"{group}._target_={name!r}: {module_name} defines no {attribute!r}{suggest(attribute, dir(module))}"
        )
    _check_kind(found, name, group)
    return found


def _check_kind(found: Callable[..., Any], name: str, group: str) -> None:
    bases = [_imported(kind) for kind in _KINDS[group]]
    if found.__module__ in _UNPICKLES:
        raise ConfigError(f"{group}._target_={name!r} is not allowed: it unpickles a file, which may run code.")
    if not isinstance(found, type):
        if group not in _FUNCTIONS:
            raise ConfigError(f"{group}._target_={name!r} is a function: it must be a class.")
        if name.partition(".")[0] not in trusted_packages():
            if not name.startswith(_FUNCTIONS[group]):
                allowed = " or ".join(_FUNCTIONS[group]) or "none"
                raise ConfigError(
                    f"{group}._target_={name!r} is a function: of the libraries' functions {allowed} is allowed."
                )
        elif not returns(found, bases[0]):
            raise ConfigError(
                f"{group}._target_={name!r} is a function: annotate that it returns a {_KINDS[group][0]}, as in "
                f"-> {bases[0].__name__}."
            )
        return
    if not any(issubclass(found, base) and found is not base for base in bases):
        other = next((base for base in found.__mro__ if base.__module__.startswith("pytorch_lightning.")), None)
        remedy = f": derive it from lightning.pytorch.{other.__name__} instead of pytorch_lightning's" if other else ""
        kinds = ", ".join(_KINDS[group])
        raise ConfigError(f"{group}._target_={name!r} must be a class derived from {kinds}{remedy}.")
    if group == "model" and issubclass(found, _imported(_KINDS["task"][0])):
        raise ConfigError(
            f"model._target_={name!r} is a LightningModule, whose training_step would never be called: name it as "
            "task._target_, by task=custom."
        )


def _imported(name: str) -> type:
    module, _, attribute = name.rpartition(".")
    kind = getattr(importlib.import_module(module), attribute)
    assert isinstance(kind, type)
    return kind


def supplied_to(found: Callable[..., Any], group: str) -> list[str]:
    """The parameters of a class or function that the program passes: those in ``SUPPLIED``, and a task's ``from_data``.

    A task's parameter with a plain type or default, as in ``optimizer: str = "adam"``, is an ordinary setting.
    """
    names, parameters = SUPPLIED[group], parameter_names(found)
    if group != "task":
        return [name for name in names if name in parameters]
    objects = [name for name in names if name in parameters and (name == "seed" or not is_plain(found, name))]
    return [*objects, *(name for name in getattr(found, "from_data", ()) if name in parameters)]


def build(
    node: Mapping[str, Any],
    group: str,
    *args: Any,
    supplied: Mapping[str, Any] = {},
    prefix: str = "",
    factory: Callable[..., Any] | None = None,
) -> Any:
    """Instantiate a node: call its ``_target_`` with its other entries, secrets revealed, and supplied arguments.

    Args:
        node: a mapping with ``_target_``.
        group: the config group of the node.
        args: positional arguments.
        supplied: keyword arguments; each is passed if the target has the parameter and the node does not set it.
        prefix: dotted key of the node, by default the name of the group.
        factory: called instead of the target, with the same arguments.
    """
    found, prefix = resolve(node["_target_"], group), prefix or group
    settings = {
        key: _built(value, f"{prefix}.{key}") for key, value in node.items() if key not in ("_target_", PARTIAL)
    }
    if node.get(PARTIAL):
        return partial(found, *args, **settings)
    accepted = supplied_to(found, group)
    return (factory or found)(*args, **{name: value for name, value in supplied.items() if name in accepted} | settings)


def _built(value: Any, key: str) -> Any:
    """The value of a setting, with nested nodes instantiated."""
    if isinstance(value, Mapping):
        if "_target_" in value:
            return build(value, NESTED, prefix=key)
        return {name: _built(one, f"{key}.{name}") for name, one in value.items()}
    if isinstance(value, list):
        return [_built(one, f"{key}[{number}]") for number, one in enumerate(value)]
    return reveal(value, key)
