"""Validation of Hydra's own settings, most of which are closed because they can name code to run.

Callbacks, logging handlers, environment variables and output directories are fixed by conf/train.yaml. Launcher and sweeper
can be chosen among those listed here, and only their listed settings can be set.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal, TypedDict

from hydra import compose
from omegaconf import DictConfig, OmegaConf

from src.bounds import Bounds, Count, CountOrZero, Metric, Seed
from src.config.hydra_internals import BASIC_LAUNCHER, BASIC_SWEEPER
from src.config.signatures import of_type
from src.config.validate import problems
from src.errors import ConfigError
from src.paths import CONF

_OPEN = re.compile(r"overrides|runtime|job\.(num|id|config_name|override_dirname)|launcher|sweeper")
_DATABASE_URL = r"[a-z][a-z0-9_+]*://|\$\{oc\.env:\w+\}$"
OPTUNA = "hydra_plugins.optuna_sweeper.OptunaSweeper"
PROCESSES = "src.sweeps.local.run_sweep"
Scalar = str | int | float | bool | None


# The settings of launchers and sweepers that can be set; all others must keep the defaults of their packages.


class _NoSettings(TypedDict):
    pass


class Processes(TypedDict):
    """Settings of ``hydra/launcher=processes``, see ``src.sweeps.local``."""

    n_jobs: Count | None
    max_failures: Count | None


class _Joblib(TypedDict):
    n_jobs: int


class _Queue(TypedDict):
    timeout_min: Count
    cpus_per_task: Count | None
    gpus_per_node: CountOrZero | None
    tasks_per_node: Literal[1]
    mem_gb: Count | None
    nodes: Literal[1]
    name: str


class _Slurm(_Queue):
    partition: str | None
    qos: str | None
    comment: str | None
    constraint: str | None
    exclude: str | None
    gres: str | None
    cpus_per_gpu: Count | None
    gpus_per_task: Count | None
    mem_per_gpu: str | None
    mem_per_cpu: str | None
    account: str | None
    signal_delay_s: Count
    max_num_timeout: CountOrZero
    array_parallelism: Count


class _RayShare(TypedDict):
    num_cpus: float | None
    num_gpus: float | None


class _RayInit(_RayShare):
    address: str | None
    object_store_memory: Count | None


class _RayGroup(TypedDict):
    init: _RayInit
    remote: _RayShare


class _Ray(TypedDict):
    ray: _RayGroup


class _Grid(TypedDict):
    params: dict[str, Scalar] | None
    max_batch_size: Count | None


class Optuna(TypedDict):
    """Settings of ``hydra_plugins.optuna_sweeper``."""

    objectives: list[Metric]
    sampler: Literal["tpe", "random", "grid", "cmaes", "nsga2", "nsga3"]
    pruner: Literal["none", "median", "hyperband", "halving"]
    n_trials: Count | None
    minutes: Annotated[float, Bounds(gt=0, le=525_600)] | None
    startup_trials: CountOrZero
    seed: Seed | None
    storage: str | None
    params: dict[str, Scalar]
    optional: dict[str, Scalar]
    start: list[dict[str, Scalar | list[Any]]]
    start_from: str | None


_LAUNCHER, _SWEEPER = "hydra/launcher", "hydra/sweeper"
_PLUGINS = "hydra_plugins"
# By _target_: the name under which the package registers the plugin, and the settings that can be set.
_KNOWN: dict[str, tuple[str, Any]] = {
    PROCESSES: (f"{_LAUNCHER}=processes", Processes),
    BASIC_LAUNCHER: (f"{_LAUNCHER}=basic", _NoSettings),
    f"{_PLUGINS}.hydra_joblib_launcher.joblib_launcher.JoblibLauncher": (f"{_LAUNCHER}=joblib", _Joblib),
    f"{_PLUGINS}.hydra_submitit_launcher.submitit_launcher.LocalLauncher": (f"{_LAUNCHER}=submitit_local", _Queue),
    f"{_PLUGINS}.hydra_submitit_launcher.submitit_launcher.SlurmLauncher": (f"{_LAUNCHER}=submitit_slurm", _Slurm),
    f"{_PLUGINS}.hydra_ray_launcher.ray_launcher.RayLauncher": (f"{_LAUNCHER}=ray", _Ray),
    BASIC_SWEEPER: (f"{_SWEEPER}=basic", _Grid),
    OPTUNA: (f"{_SWEEPER}=optuna", Optuna),
}
# Launchers from separate packages.
EXTRAS = {
    "joblib": "hydra-joblib-launcher",
    "submitit_local": "hydra-submitit-launcher",
    "submitit_slurm": "hydra-submitit-launcher",
    "ray": "hydra-ray-launcher",
}


def check_hydra(config: DictConfig, usual: Mapping[str, Any]) -> dict[str, Any]:
    """Check the hydra node of a composed configuration against that of conf/train.yaml without overrides.

    Returns:
        The node as plain values.

    Raises:
        ConfigError: a setting is not allowed or invalid, or a launcher or sweeper is unknown.
    """
    node = hydra_node(config)
    _refuse_changes(node, usual)
    for part in ("launcher", "sweeper"):
        if node[part] != usual[part]:
            _check_part(node[part], part)
    return node


def hydra_node(config: DictConfig) -> dict[str, Any]:
    """The hydra node as plain values, with unresolved interpolations."""
    node = OmegaConf.to_container(config.hydra, resolve=False, enum_to_str=True)
    assert isinstance(node, dict)
    return {str(key): value for key, value in node.items()}


def _refuse_changes(hydra: Mapping[str, Any], usual: Mapping[str, Any], prefix: str = "") -> None:
    for key in sorted({*hydra, *usual}):
        name, mine, theirs = f"{prefix}{key}", hydra.get(key), usual.get(key)
        if mine == theirs or _OPEN.fullmatch(name):
            continue
        if mine and theirs and isinstance(mine, Mapping) and isinstance(theirs, Mapping):
            _refuse_changes(mine, theirs, f"{name}.")
            continue
        remedy = ""
        if name.startswith(("run.", "sweep.")):
            remedy = (
                ": set name= or tags= to find a run by, or the environment variable OUTPUTS_DIR to keep all elsewhere"
            )
        elif name == "mode":
            remedy = ": -m makes a sweep"
        raise ConfigError(f"hydra.{name}={mine!r} is not allowed; Hydra stays as conf/train.yaml sets it{remedy}.")


def known_choices(part: str) -> list[str]:
    """The options of ``hydra/launcher`` or ``hydra/sweeper``."""
    registered = (choice for choice, _ in _KNOWN.values() if choice.startswith(f"hydra/{part}="))
    ours = (path.stem for path in (CONF / "hydra" / part).glob("*.yaml"))
    return sorted({*(choice.partition("=")[2] for choice in registered), *ours})


def launcher_schemas() -> dict[str, dict[str, Any]]:
    """The JSON schema of the settings of each launcher, by ``_target_`` for this project's own, else by its name in Hydra."""
    launchers = {
        target: (choice.partition("=")[2], of_type(settings) or {})
        for target, (choice, settings) in _KNOWN.items()
        if choice.startswith(f"{_LAUNCHER}=")
    }
    return {target if target == PROCESSES else name: schema for target, (name, schema) in launchers.items()}


@cache
def _pristine(choice: str) -> dict[str, Any]:
    return hydra_node(compose("train", overrides=[choice], return_hydra_config=True))


def _check_part(node: Mapping[str, Any], part: str) -> None:
    target = node.get("_target_")
    choice, settings = _KNOWN.get(str(target), (None, _NoSettings))
    if choice is None or not choice.startswith(f"hydra/{part}="):
        known = ", ".join(known_choices(part))
        raise ConfigError(f"hydra.{part}._target_={target!r} is not allowed: hydra/{part} is one of {known}.")
    pristine = _pristine(choice)[part]
    schema = of_type(settings) or {}
    names = schema["properties"]
    for key in sorted({*node, *pristine} - set(names)):
        if node.get(key) != pristine.get(key):
            may = ", ".join(names) or "nothing"
            raise ConfigError(f"hydra.{part}.{key}={node.get(key)!r} is not allowed: with {choice} may be set {may}.")
    found = problems(schema, {key: node[key] for key in names if key in node}, f"hydra.{part}")
    # The address itself is not shown, since it may contain a password.
    if not found and (storage := node.get("storage")) and not re.match(_DATABASE_URL, storage):
        found.append(
            f"hydra.{part}.storage: must be a database URL: postgresql://user@host/database, or sqlite:////path/of/a/file.db."
        )
    if not found and choice == f"{_SWEEPER}=optuna" and node["n_trials"] is None and node["minutes"] is None:
        found.append("hydra.sweeper.n_trials=null needs a time limit: set hydra.sweeper.minutes=10, or n_trials.")
    if not found and choice == f"{_LAUNCHER}=ray":
        init = node["ray"]["init"]
        if init["address"] not in (None, "local") and "object_store_memory" not in init:
            found.append(f"hydra.launcher.ray.init.address: choose {_LAUNCHER}=ray_cluster to join a cluster.")
    if found:
        raise ConfigError("\n".join(found))
