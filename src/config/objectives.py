"""The objectives of a search, ``hydra.sweeper.objectives=[val/acc,latency_ms]``: metrics and their modes."""

import re
from collections.abc import Mapping
from typing import Any

from src.config.check import holds_out, logged_metrics
from src.config.schemas import METRICS, default_of, schema_of
from src.errors import ConfigError
from src.records.metrics import mode_of

_KEY = "hydra.sweeper.objectives"
# The callback that measures inference, and the metrics that it logs.
_LATENCY = "src.callbacks.latency.Latency"
_OF_LATENCY = re.compile(r"latency_ms(_\d+)?|parameters|bytes|flops")
# Samplers of a single objective.
_SINGLE = ("cmaes",)


def objectives_of(sweeper: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, str]:
    """The objectives of a search, metric to mode (``min`` or ``max``), in the order in which they were listed.

    Args:
        sweeper: the settings of the search. An objective is ``metric``, or ``metric:mode`` where the mode does not follow from
            the name or from ``monitor``.
        config: the checked configuration of one of its jobs.

    Returns:
        An empty dict if none is listed: ``monitor`` is the objective.

    Raises:
        ConfigError: the objectives are not at least two different metrics with known modes that a job logs and that are not of
            the test; or the sampler or the pruner is for a single objective.
    """
    listed = sweeper["objectives"]
    if not listed:
        return {}
    found = dict(_with_mode(word, config) for word in listed)
    if len(found) < 2 or len(found) < len(listed):
        raise ConfigError(
            f"{_KEY}=[{','.join(listed)}] must list at least two different metrics: for a single one set monitor instead."
        )
    if sweeper["pruner"] != "none":
        raise ConfigError(
            f"hydra.sweeper.pruner={sweeper['pruner']}: trials are pruned by a single metric, and there are {len(found)} objectives: "
            "set hydra.sweeper.pruner=none."
        )
    if sweeper["sampler"] in _SINGLE:
        raise ConfigError(
            f"hydra.sweeper.sampler={sweeper['sampler']} is for a single objective, and there are {len(found)}: choose tpe, nsga2, "
            "nsga3, random or grid."
        )
    for metric in found:
        _check_logged(metric, config)
    return found


def _with_mode(word: str, config: Mapping[str, Any]) -> tuple[str, str]:
    metric, separator, written = word.rpartition(":") if ":" in word else (word, "", "")
    declared = schema_of(config["task"]["_target_"], "task").get(METRICS, {})
    known = (
        config["mode"] if metric == config["monitor"] else declared.get(metric.rpartition("/")[2]) or mode_of(metric)
    )
    if separator and written not in ("min", "max"):
        raise ConfigError(f"{_KEY}: the mode of {metric} must be min or max, not {written!r}.")
    if separator and known and written != known:
        raise ConfigError(f"{_KEY}: {word} would take the worst {metric} for the best: write {metric} alone.")
    if not (mode := written or known):
        raise ConfigError(
            f"{_KEY}: the mode of {metric} does not follow from its name: write {metric}:min or {metric}:max."
        )
    return metric, mode


def _check_logged(metric: str, config: Mapping[str, Any]) -> None:
    """Refuse a metric of the test, or one that no job would log as far as the configuration determines it."""
    if metric.startswith(("test/", "test_")):
        raise ConfigError(f"{_KEY}: {metric} would select settings by the test set: name a metric of the validation.")
    if metric.startswith("best/"):
        raise ConfigError(f"{_KEY}: {metric} is the best value of a metric: name {metric.removeprefix('best/')}.")
    logged, stage = logged_metrics(config), metric.partition("/")[0]
    if logged is not None and stage in ("val", "train") and metric not in logged:
        raise ConfigError(f"{_KEY}: {metric} is not logged: the task logs {', '.join(logged)}; name one of these.")
    if stage == "val" and not holds_out(config):
        raise ConfigError(
            f"{_KEY}: {metric} needs validation data, and data.val_size=0 holds none out: set data.val_size=5000."
        )
    targets = [node["_target_"] for node in config["callbacks"].values()]
    if not _OF_LATENCY.fullmatch(metric) or not all(one.startswith(("src.", "lightning.")) for one in targets):
        return  # a callback of the user may log it; otherwise the first trial ends the search
    nodes = [node for node in config["callbacks"].values() if node["_target_"] == _LATENCY]
    if not nodes:
        raise ConfigError(f"{_KEY}: {metric} is logged by callbacks=latency: add it.")
    sizes = [default_of(node, "callbacks", "batch_size") for node in nodes]
    if metric.startswith("latency_ms_") and metric not in [f"latency_ms_{size}" for size in sizes]:
        raise ConfigError(
            f"{_KEY}: {metric} is not logged: callbacks.latency.batch_size={sizes[0]} logs latency_ms_{sizes[0]}; name that, or set "
            "the batch size."
        )
