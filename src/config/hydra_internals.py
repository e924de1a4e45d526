"""Everything of Hydra that is not its documented API, each with the reason. Hydra 1.4 will change it: adapt this file.

The documented API (``hydra.main``, ``hydra.compose``, ``HydraConfig``, ``GlobalHydra.instance().clear()``, plugins and their
types) is used where it is needed; ruff refuses imports of the rest anywhere else.
"""

import copy
from collections.abc import Iterable, Mapping
from typing import Any

# Composing takes Hydra a twentieth of a second, so the jobs of a sweep that choose the same files are composed once, and the
# values they set are applied as Hydra itself does it.
from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname

# The points of a grid, in the order in which Hydra will number the jobs: each is checked before the first is run, and
# recorded, so that a resumed sweep has the same.
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

# The command line is parsed before Hydra starts: flags may stand among the overrides, a wrong one ends with status 2 and a
# message of one line, and those that would bypass the checks are refused.
from hydra._internal.utils import get_args_parser

# The composed configuration's loader lists the choices of a group for glob(). Plugins get it from their HydraContext; the
# Compose API has it without saying so.
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra

# Hydra's grammar: which overrides vary something, over which values, and which setting each names.
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

# The launcher and the sweeper that are chosen by default, as the configuration names them.
BASIC_LAUNCHER = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"


def current_loader() -> ConfigLoader:
    """The loader of the configuration directory, once Hydra is initialized."""
    return GlobalHydra.instance().config_loader()


def parse_overrides(words: Iterable[str], loader: ConfigLoader | None = None) -> list[Override]:
    """Parse overrides.

    Args:
        words: in Hydra's grammar.
        loader: lists the choices of a group, for ``glob()``.

    Raises:
        HydraException: one cannot be read.
    """
    return OverridesParser.create(loader).parse_overrides(list(words))


def choices_and_values(words: Iterable[str]) -> tuple[list[str], list[Override]]:
    """Split overrides into those that Hydra must compose with, and those that set values.

    The first choose files, are Hydra's own, or are mistakes: several values outside a sweep.
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
    """A configuration as Hydra would compose it with values set, made from the one that is composed without them.

    Args:
        composed: with the other overrides.
        values: overrides that set values.
        words: all overrides, in their order.
    """
    config = copy.deepcopy(composed)
    ConfigLoaderImpl._apply_overrides_to_config(values, config)
    own = [override for override in parse_overrides(words) if not override.is_hydra_override()]
    config.hydra.overrides.task = [override.input_line for override in own]
    config.hydra.job.override_dirname = get_overrides_dirname(own, **config.hydra.job.config.override_dirname)
    return config


def parse_space(
    params: Mapping[str, Any] | None, words: Iterable[str], loader: ConfigLoader | None = None
) -> list[Override]:
    """Parse ``hydra.sweeper.params``, key to value, and after them the overrides of the command line."""
    in_file = [f"{key}={'null' if value is None else value}" for key, value in (params or {}).items()]
    return parse_overrides([*in_file, *words], loader)


def grid(overrides: list[Override]) -> list[list[str]]:
    """The overrides of each point of a grid, in the order in which Hydra runs them."""
    [jobs] = BasicSweeper.split_arguments(overrides, max_batch_size=None)
    return jobs
