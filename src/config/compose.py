"""Preflight: compose every point of a command line, as Hydra will, and check it before anything is written."""

import argparse
import contextlib
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException, HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.config.schema import check
from src.errors import ConfigError
from src.paths import CONF
from src.targets import suggest

CONFIG_NAME = "train"


def register_resolvers() -> None:
    """Teach OmegaConf the functions that conf/ uses. Safe to call again."""
    monitor = "val/acc"
    OmegaConf.register_new_resolver("default_monitor", lambda val_size: monitor if val_size else None, replace=True)
    OmegaConf.register_new_resolver(
        "default_mode", lambda name: "min" if str(name).endswith("/loss") else "max", replace=True
    )
    OmegaConf.register_new_resolver("job_number", lambda number: f"{int(number):03d}", replace=True)


@dataclass(frozen=True)
class CommandLine:
    """A command line of Hydra's, parsed and put in order.

    Attributes:
        flags: the options, in the form Hydra reads (``--multirun``, ``--config-name x``).
        overrides: the ``key=value`` words.
        multirun: whether it is a sweep.
        only_asks: whether it only asks for help or for the configuration.
    """

    flags: list[str]
    overrides: list[str]
    multirun: bool
    only_asks: bool


def parse(argv: list[str]) -> CommandLine:
    """Parse ``argv``; flags may stand anywhere among the overrides, which Hydra itself does not allow.

    Raises:
        ConfigError: an unknown flag.
    """
    parser = get_args_parser()
    usage = io.StringIO()
    try:
        with contextlib.redirect_stderr(usage):
            args = parser.parse_intermixed_args(argv)
    except SystemExit:
        problem = usage.getvalue().strip().splitlines()[-1].partition("error: ")[2]
        raise ConfigError(f"{problem}; --help lists what can be set.") from None
    for flag in ("config_path", "config_dir", "experimental_rerun", "package"):
        if getattr(args, flag, None) is not None and flag != "package":
            raise ConfigError(f"--{flag.replace('_', '-')} is not supported: put the file into conf/experiment/.")
    flags = [word for action in parser._actions for word in _as_words(action, args)]
    asks = [args.help, args.hydra_help, args.cfg, args.info, args.shell_completion]
    multirun = args.multirun or "hydra.mode=MULTIRUN" in args.overrides
    return CommandLine(flags, list(args.overrides), multirun, any(value not in (None, False) for value in asks))


def _as_words(action: argparse.Action, args: argparse.Namespace) -> list[str]:
    value = getattr(args, action.dest, None)
    if not action.option_strings or value in (None, False):
        return []
    return [action.option_strings[-1]] if value is True else [action.option_strings[-1], str(value)]


def points(line: CommandLine) -> list[list[str]]:
    """The overrides of each job: one list for a single run, one for every point of a multirun's grid."""
    if not line.multirun:
        return [line.overrides]
    words = [word for word in line.overrides if not word.startswith("hydra.mode=")]
    parsed = OverridesParser.create().parse_overrides(words)
    for_hydra = [o.input_line or "" for o in parsed if _belongs_to_hydra(o)]
    rest = [override for override in parsed if not _belongs_to_hydra(override)]
    [jobs] = BasicSweeper.split_arguments(rest, max_batch_size=None)
    return [for_hydra + job for job in jobs]


def _belongs_to_hydra(override: Override) -> bool:
    return override.get_key_element().lstrip("+~").startswith(("hydra.", "hydra/", "hydra="))


def preflight(line: CommandLine) -> list[dict[str, Any]]:
    """Compose and check every job of a command line; writes nothing.

    Returns:
        The checked configuration of each job.

    Raises:
        ConfigError: what is wrong, in a sentence or more.
    """
    register_resolvers()
    _refuse_own_directories(line.overrides)
    GlobalHydra.instance().clear()
    name = _config_name(line)
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        try:
            jobs = points(line)
            return [checked(compose(config_name=name, overrides=job)) for job in jobs]
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(_explain(error, line.overrides, _known_keys(name, line))) from None


def checked(config: DictConfig) -> dict[str, Any]:
    """Resolve a composed configuration to plain values and check it.

    Raises:
        ConfigError: what is wrong.
    """
    plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(plain, dict)
    return check({str(key): value for key, value in plain.items() if key != "hydra"})


def _config_name(line: CommandLine) -> str:
    return line.flags[line.flags.index("--config-name") + 1] if "--config-name" in line.flags else CONFIG_NAME


def _refuse_own_directories(overrides: Iterable[str]) -> None:
    for word in overrides:
        if word.lstrip("+").startswith(("hydra.run.dir=", "hydra.sweep.dir=", "hydra.sweep.subdir=")):
            raise ConfigError(
                f"{word}: a run's directory is its identity and cannot be chosen; set name= or tags= to find it by, "
                "or the environment variable OUTPUTS_DIR to keep all runs elsewhere."
            )


def _known_keys(config_name: str, line: CommandLine) -> set[str]:
    """Every dotted key of the configuration with the choices of the command line, as far as they can be made."""
    choices = [word for word in line.overrides if (CONF / word.partition("=")[0]).is_dir()]
    for words in (choices, []):
        with contextlib.suppress(HydraException):
            config = compose(config_name=config_name, overrides=words)
            break
    else:
        return set()

    def walk(node: DictConfig, prefix: str) -> Iterable[str]:
        for key, value in node.items_ex(resolve=False):
            assert isinstance(key, str)
            yield f"{prefix}{key}"
            if isinstance(value, DictConfig):
                yield from walk(value, f"{prefix}{key}.")

    return set(walk(config, ""))


def _explain(error: Exception, overrides: Iterable[str], known: set[str]) -> str:
    """Hydra's and OmegaConf's errors, as one sentence with the nearest right spelling."""
    text = str(error)
    if found := re.search(r"Could not (?:find|load) '(\w+)/([^']*)'", text):
        group, choice = found.groups()
        choices = sorted(path.stem for path in (CONF / group).glob("*.yaml"))
        return f"{group}={choice}: there is no such choice{suggest(choice, choices)} (there are {', '.join(choices)})"
    if isinstance(error, ConfigCompositionException) and (
        found := re.search(r"Could not (?:override|delete from config. ')[^']*'?([\w./@-]+)'", text)
    ):
        key = found.group(1)
        if (CONF / key).is_dir():
            return f"{key}: it is chosen by name, as in {key}={next((CONF / key).glob('*.yaml')).stem}."
        return f"{key}: there is no such setting or group{suggest(key, known)}"
    if found := re.search(r"Missing mandatory value: (\S+)", text):
        return f"{found.group(1)} is missing."
    first = next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
    wrong = getattr(error, "override", None) or next((word for word in overrides if word in text), None)
    return first if wrong is None or wrong in first else f"{wrong}: {first}"


def quoted_override(key: str, path: Path) -> str:
    """``key='path'`` in Hydra's grammar, whatever characters the path holds."""
    escaped = str(path).replace("'", "\\'")
    return f"{key}='{escaped}'"
