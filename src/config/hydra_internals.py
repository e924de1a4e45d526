"""Everything of Hydra that is not its documented API, each with the reason. Hydra 1.4 will change it: adapt this file.

The documented API (``hydra.main``, ``hydra.compose``, ``HydraConfig``, ``GlobalHydra.instance().clear()``, plugins and their
types) is used where it is needed; ruff refuses imports of the rest anywhere else.
"""

from collections.abc import Iterable, Mapping
from typing import Any

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
