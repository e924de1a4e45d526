"""The uses of Hydra beyond its documented API, each with its reason. To be adapted to Hydra 1.4, which changes these parts.

Other modules may use the documented API (``hydra.main``, ``hydra.compose``, ``HydraConfig``,
``GlobalHydra.instance().clear()``, plugins and their types); ruff refuses imports of anything else there.
"""

import copy
from collections.abc import Iterable, Mapping
from typing import Any

# Composing takes Hydra 50 ms, so the jobs of a sweep that choose the same files are composed once, and the values that they
# set are applied as Hydra does.
from hydra._internal.config_loader_impl import ConfigLoaderImpl

# The points of a grid, in the order of Hydra's job numbers: all are checked before the first job runs, and recorded, so that a
# resumed sweep has the same jobs.
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

# The command line is parsed before Hydra starts: flags and overrides may be mixed, an invalid flag exits with status 2 and a
# one-line message, and flags that would bypass the checks are refused.
from hydra._internal.utils import get_args_parser

# The config loader lists the options of a group for glob(). Plugins get it from their HydraContext; the Compose API has it,
# too, but does not document it.
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra

# Hydra's override grammar: an override's key, whether it is a sweep, and the values that it sweeps over.
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from omegaconf import DictConfig

__all__ = [
    "BASIC_LAUNCHER",
    "BASIC_SWEEPER",
    "ConfigLoader",
    "IntervalSweep",
    "Override",
    "RangeSweep",
    "get_args_parser",
]

# Hydra's default launcher and sweeper, by their names in the configuration.
BASIC_LAUNCHER = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"


def current_loader() -> ConfigLoader:
    """The loader of the configuration directory, once Hydra is initialized."""
    return GlobalHydra.instance().config_loader()


def parse_overrides(words: Iterable[str], loader: ConfigLoader | None = None) -> list[Override]:
    """Parse overrides.

    Args:
        words: overrides in Hydra's grammar.
        loader: lists the options of a config group, for ``glob()``.

    Raises:
        HydraException: an override cannot be parsed.
    """
    return OverridesParser.create(loader).parse_overrides(list(words))


def choices_and_values(words: Iterable[str]) -> tuple[list[str], list[Override]]:
    """Split overrides into those to compose with, and those that set values.

    The former choose config group options, set Hydra's own settings, or are sweeps, which are errors in a single job.
    """
    choices, values = [], []
    repository = current_loader().repository  # type: ignore[attr-defined]
    for override in parse_overrides(words):
        is_choice = repository.group_exists(override.key_or_group) and not isinstance(override.value(), dict)
        if is_choice or override.is_hydra_override() or override.is_sweep_override():
            choices.append(override.input_line or "")
        else:
            values.append(override)
    return choices, values


def with_values(composed: DictConfig, values: list[Override], words: list[str]) -> DictConfig:
    """Apply value overrides to a composed configuration, with the result that Hydra would compose.

    Args:
        composed: the configuration composed with the other overrides.
        values: overrides that set values.
        words: all overrides, in order.
    """
    config = copy.deepcopy(composed)
    ConfigLoaderImpl._apply_overrides_to_config(values, config)
    own = [override for override in parse_overrides(words) if not override.is_hydra_override()]
    config.hydra.overrides.task = [override.input_line for override in own]
    rule = config.hydra.job.config.override_dirname
    parts = sorted(override.input_line or "" for override in own if override.key_or_group not in rule.exclude_keys)
    config.hydra.job.override_dirname = rule.item_sep.join(parts).replace("=", rule.kv_sep)
    return config


def parse_space(
    params: Mapping[str, Any] | None, words: Iterable[str], loader: ConfigLoader | None = None
) -> list[Override]:
    """Parse ``hydra.sweeper.params``, key to value, and after them the overrides of the command line."""
    in_file = [f"{key}={'null' if value is None else value}" for key, value in (params or {}).items()]
    return parse_overrides([*in_file, *words], loader)


def grid(overrides: list[Override]) -> list[list[str]]:
    """The overrides of each grid point, in the order in which Hydra runs them."""
    [jobs] = BasicSweeper.split_arguments(overrides, max_batch_size=None)
    return jobs
