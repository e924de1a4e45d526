"""Preflight: compose every job of a command line, as Hydra will, and check it before anything is written."""

import contextlib
import re
import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Template
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.conf import HydraConf
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from omegaconf.resolvers import oc

from src.config.check import check, takes
from src.config.command_line import CommandLine, build_parser, fixed_words, points, typed_values
from src.config.hydra import EXTRAS, OPTUNA, check_hydra, hydra_node, known_choices
from src.config.hydra_internals import choices_and_values, current_loader, parse_overrides, with_values
from src.config.objectives import objectives_of
from src.config.schemas import METRICS, MONITOR, of_group, schema_of
from src.config.settings_help import WIDTH, describe_flags, describe_settings
from src.config.space import Dimension, applicable, split_space, start_points
from src.config.targets import GROUPS, MANY, ONE, TAKEN_BY
from src.errors import ConfigError, RunNotFound, not_installed, renamed, suggest, suggest_key
from src.files import write
from src.masking import conceal_config, is_secret, mask, reference
from src.paths import CONF, from_root, runs_dir, sweeps_dir
from src.records.find import find
from src.records.metrics import mode_of
from src.records.settings import settings_of
from src.records.summary import summary
from src.records.sweep import find_several

CONFIG_NAME = "train"
_STARTS = 5  # number of runs of hydra.sweeper.start_from
# The config groups of conf/, whose choices are kept in the record.
CHOICES = (*GROUPS, "experiment", "sweep", "debug")


def register_resolvers() -> None:
    """Register the OmegaConf resolvers that conf/ uses. Idempotent."""
    OmegaConf.register_new_resolver("default_monitor", _default_monitor, replace=True)
    OmegaConf.register_new_resolver("default_mode", _default_mode, replace=True)
    OmegaConf.register_new_resolver(
        "default_watch", lambda data: "val/loss" if _has_validation(data) else "train/loss", replace=True
    )
    OmegaConf.register_new_resolver("differs", lambda value, other: value != other, replace=True)
    OmegaConf.register_new_resolver("job_number", lambda number: f"{int(number):03d}", replace=True)
    OmegaConf.register_new_resolver("oc.env", _environment_variable, replace=True)


def _default_monitor(data: Any, task: Any) -> str | None:
    """Default of ``monitor``: the metric that the task declares; null if it declares none, or there is no validation."""
    name = _schema(task, "task").get(MONITOR)
    return f"val/{name}" if name and _has_validation(data) else None


def _default_mode(metric: Any, task: Any) -> str | None:
    """Default of ``mode``: min or max as the task declares it, else by the metric's name; null if neither determines it."""
    modes = _schema(task, "task").get(METRICS, {})
    return "max" if metric is None else modes.get(str(metric).rpartition("/")[2]) or mode_of(str(metric))


def _has_validation(data: Any) -> bool:
    """Whether a data set has validation samples, by its settings or their defaults; true if it has no such settings."""
    properties = _schema(data, "data").get("properties", {})
    if "val_size" not in properties:
        return True
    value = {name: data.get(name, properties.get(name, {}).get("default")) for name in ("val_size", "folds")}
    return bool(value["val_size"] or value["folds"])


def _schema(node: Any, group: str) -> dict[str, Any]:
    """The schema of an object; empty if it does not exist, which ``check`` reports."""
    try:
        return schema_of(node["_target_"], group)
    except (ConfigError, OmegaConfBaseException, KeyError, TypeError):
        return {}


def _environment_variable(name: str, *default: Any) -> Any:
    """Resolver ``oc.env`` that leaves a secret as a reference to its variable until an object is built with it."""
    value = oc.env(name, *default)
    return reference(name) if is_secret(name) else value


def source_of(hydra: DictConfig | HydraConf, config: Mapping[str, Any]) -> dict[str, Any]:
    """The overrides and config group choices of a composed configuration, for the record of a run.

    Args:
        hydra: the hydra node of the configuration.
        config: the checked configuration; a group that is null has no choice.
    """
    chosen = {group: hydra.runtime.choices.get(group) for group in CHOICES if config.get(group, "") is not None}
    return {"overrides": list(hydra.overrides.task), "choices": {group: chosen.get(group) for group in CHOICES}}


@dataclass(frozen=True)
class Composed:
    """The configuration of one run.

    Attributes:
        node: the configuration as composed by Hydra.
        config: the checked configuration as plain values.
    """

    node: DictConfig
    config: dict[str, Any]

    @property
    def source(self) -> dict[str, Any]:
        """The overrides and config group choices, for the record."""
        return source_of(self.node.hydra, self.config)

    def save(self, directory: Path) -> None:
        """Write the configuration to ``.hydra`` in Hydra's format, but without secrets."""
        hydra = self.node.hydra
        with read_write(hydra), open_dict(hydra.runtime):
            hydra.mode, hydra.run.dir, hydra.runtime.output_dir = RunMode.RUN, str(directory), str(directory)
        nodes = {
            "config": _without_hydra(self.node),
            "hydra": OmegaConf.masked_copy(self.node, "hydra"),
            "overrides": hydra.overrides.task,
        }
        (directory / hydra.output_subdir).mkdir(exist_ok=True)
        for name, node in nodes.items():
            write(directory / hydra.output_subdir / f"{name}.yaml", mask(OmegaConf.to_yaml(node)))


@dataclass(frozen=True)
class Plan:
    """The jobs of a command line.

    Attributes:
        composed: the configuration of each job; for a search, the configurations at the ends of each dimension.
        jobs: the overrides of each job; None for a search, whose sampler chooses them.
        space: the search space; empty for a grid.
        fixed: for a search, the overrides that all jobs share.
        hydra: the settings of Hydra itself, including launcher and sweeper.
        objectives: for a search over several objectives, metric to mode; else empty.
    """

    composed: list[Composed]
    jobs: list[list[str]] | None
    space: list[Dimension]
    fixed: list[str]
    hydra: dict[str, Any]
    objectives: dict[str, str]

    @property
    def configs(self) -> list[dict[str, Any]]:
        """The checked configurations."""
        return [one.config for one in self.composed]

    @property
    def search(self) -> dict[str, Any] | None:
        """The settings of the sweeper; None unless it is a search."""
        return self.hydra["sweeper"] if self.jobs is None else None

    @property
    def trials(self) -> int | None:
        """Number of jobs; None for a search that is limited by its time alone."""
        return self.search["n_trials"] if self.search else len(self.composed)

    @property
    def summary(self) -> str:
        """One-line description of the jobs."""
        config, choices = self.composed[0].config, self.composed[0].node.hydra.runtime.choices
        name = {
            group: str(config[group]["_target_"]).rpartition(".")[2]
            if choices.get(group) == "custom"
            else choices.get(group)
            for group in ONE
            if config[group] is not None
        }
        what = name.get("model", name["task"]) + (f" on {name['data']}" if "data" in name else "")
        what += f" with {name['optimizer']}" if "optimizer" in name else ""
        epochs = config["trainer"]["max_epochs"]
        what += f", {epochs} epoch{'' if epochs == 1 else 's'}"
        what += f", trainer={choices['trainer']}" if choices["trainer"] != "auto" else ""
        if self.search:
            minutes = f" in at most {self.search['minutes']:g} min" if self.search["minutes"] else ""
            return f"{self.search['n_trials'] or 'any number of'} trials{minutes}, such as {what}"
        jobs = len(self.jobs or [])
        return what if jobs == 1 else f"{jobs} jobs, first {what}"


def preflight(line: CommandLine) -> list[dict[str, Any]]:
    """The checked configuration of each job of a command line; see ``make_plan``."""
    return make_plan(line).configs


def make_plan(line: CommandLine) -> Plan:
    """Compose and check every job of a command line; writes nothing.

    Raises:
        ConfigError: the command line is invalid; the message has one line per error.
    """

    @cache
    def with_choices(*words: str) -> DictConfig:
        return compose(CONFIG_NAME, overrides=list(words), return_hydra_config=True)

    @cache  # the fixed overrides of a single run are also those of its only job
    def composed(*words: str) -> DictConfig:
        choices, values = choices_and_values(words)
        return with_values(with_choices(*choices), values, list(words))

    with _hydra(line):
        fixed = composed(*fixed_words(line))  # first, since most errors are found here
        usual = hydra_node(composed())
        hydra = check_hydra(fixed, usual)
        typed, space, constant = typed_values(line), list[Dimension](), list[str]()
        if not line.multirun and not line.asks:
            _refuse_sweep(fixed, hydra, usual, typed)
        params, loader = hydra["sweeper"].get("params"), current_loader()
        if line.multirun and hydra["sweeper"]["_target_"] == OPTUNA:
            params = {**params, **applicable(hydra["sweeper"]["optional"], fixed)}
            constant, space = split_space(params, line.overrides, loader)
            if any(dimension.key == "data.fold" for dimension in space):
                raise ConfigError(
                    "data.fold: a search would choose the easiest fold; set one, or leave hydra/sweeper out."
                )
            if hydra["sweeper"]["sampler"] == "grid":
                _ = [dimension.values for dimension in space]
            hydra["sweeper"]["start"] += _earlier_settings(hydra["sweeper"]["start_from"], space)
            _ = start_points(hydra["sweeper"], space, constant)
            jobs, candidates = None, _ends(constant, space)
        else:
            jobs = candidates = points(line, params if line.multirun else None, loader)
        found = []
        for job in candidates:
            config = composed(*job)
            check_hydra(config, usual)
            _refuse_unused(config, composed())
            for key in ("init_from", *(f"task.{name}" for name in _runs_in(config.task))):
                if line.multirun and (run := OmegaConf.select(config, key)) in ("latest", "best"):
                    raise ConfigError(f"{key}={run} may change while a sweep runs: name the run by its id.")
            found.append(Composed(config, checked(_without_hydra(config), typed)))
        objectives = objectives_of(hydra["sweeper"], found[0].config) if jobs is None else {}
        return Plan(found, jobs, space, constant, hydra, objectives)


def check_package(plan: Plan, flags: Sequence[str]) -> None:
    """Check that the part of the configuration that --package names exists.

    Raises:
        ConfigError: it does not, or it is null.
    """
    if "--package" not in flags:
        return
    package, node = flags[flags.index("--package") + 1], plan.composed[0].node
    if OmegaConf.select(node, package) is None:
        parent, _, last = package.rpartition(".")
        siblings = OmegaConf.select(node, parent) if parent else node
        hint = suggest(last, list(siblings)) if isinstance(siblings, DictConfig) else ""
        raise ConfigError(f"--package {package}: the configuration has no such part, or it is null{hint or '.'}")


def compose_job(words: list[str]) -> Composed:
    """Compose and check one job of a search.

    Args:
        words: the overrides of the job.

    Raises:
        ConfigError: the job is invalid; the message has one line per error.
    """
    with _hydra(CommandLine([], words, multirun=False, asks=None)):
        node = compose(CONFIG_NAME, overrides=words, return_hydra_config=True)
        return Composed(node, checked(_without_hydra(node)))


def _unused(config: DictConfig) -> list[str]:
    """The groups that the task does not take because it builds its own network or optimizers."""
    try:
        task = {"_target_": config.task._target_}
        return [group for group in TAKEN_BY if not takes(task, group)]
    except (ConfigError, OmegaConfBaseException):  # ``check`` reports it
        return []


def _refuse_unused(config: DictConfig, usual: DictConfig) -> None:
    """Refuse choices and settings of a group that the task does not take.

    Raises:
        ConfigError: the command line or an experiment file sets one.
    """
    for group in _unused(config):
        overrides = OmegaConf.to_container(config.hydra.overrides.task)
        typed = {override.key_or_group for override in parse_overrides(overrides)}  # type: ignore[arg-type]
        nodes = [OmegaConf.to_container(one[group]) if one.get(group) else None for one in (config, usual)]
        words = sorted(key for key in typed if key.partition(".")[0] == group)
        if words or nodes[0] not in (None, nodes[1]):
            name = str(config.task._target_)
            parameter = " or ".join(TAKEN_BY[group])
            raise ConfigError(
                f"{words[0] if words else group}: {name} has no parameter {parameter}, so the group {group} would be ignored: "
                "leave it out, or give the constructor this parameter."
            )


def _refuse_sweep(
    config: DictConfig, hydra: Mapping[str, Any], usual: Mapping[str, Any], typed: Mapping[str, str]
) -> None:
    """Refuse settings of a sweep in a single run, which would ignore them.

    A single point of a sweep, with a value for every varied setting, is allowed, so that a job can be rerun.
    """
    if hydra["launcher"] != usual["launcher"]:
        raise ConfigError(
            "hydra/launcher starts the jobs of a sweep, and this is a single run: add -m, or leave it out."
        )
    if hydra["sweeper"] == usual["sweeper"]:
        return
    choice = config.hydra.runtime.choices.get("sweep")
    word = "hydra.sweeper" if choice is None else f"sweep={choice}"
    params = [key.lstrip("+") for key in hydra["sweeper"].get("params") or ()]
    if missing := [key for key in params if key not in typed]:
        raise ConfigError(
            f"{word} varies {', '.join(missing)}: add -m for a sweep, or set each of them for a single run."
        )
    if not params:
        raise ConfigError(f"{word} makes a sweep, and this is a single run: add -m, or leave it out.")


def help_text(line: CommandLine) -> str:
    """Text of --help: the template in conf/hydra/help/, every config group with its options, and the settings.

    With overrides, the settings are those of the groups that they choose or set; without, and with an experiment, all.

    Hydra's own --help fills the same template, but takes a second to list the groups.

    Raises:
        ConfigError: the overrides next to --help cannot be composed.
    """
    with _hydra(line):
        config = compose(CONFIG_NAME, overrides=fixed_words(line), return_hydra_config=True)
        names = {group: ", ".join(sorted(path.stem for path in (CONF / group).glob("*.yaml"))) for group in CHOICES}
        lines = [textwrap.fill(f"{group}: {names[group]}", WIDTH, subsequent_indent="  ") for group in names]
        plain = OmegaConf.to_container(_without_hydra(config), resolve=True)
        assert isinstance(plain, dict)
        settings = describe_settings(plain, _groups_of(line))  # type: ignore[arg-type]
        template = Template(config.hydra.help.template)
        groups, flags = "\n".join([*sorted(lines), ""]), describe_flags(build_parser())
        return template.substitute(FLAGS=flags, APP_CONFIG_GROUPS=groups, CONFIG=settings)


def _groups_of(line: CommandLine) -> set[str] | None:
    """The groups whose settings the overrides choose or set; None if they may be any."""
    groups = {re.split(r"[.=]", word.lstrip("+~"))[0] for word in line.overrides}
    return groups if groups and groups <= set(GROUPS) else None


def unresolved(words: list[str]) -> dict[str, Any]:
    """The configuration of these overrides before interpolations are resolved and values are checked.

    Raises:
        ConfigError: it cannot be composed.
    """
    line = CommandLine([], words, multirun=False, asks=None)
    with _hydra(line):
        config = compose(CONFIG_NAME, overrides=fixed_words(line), return_hydra_config=True)
        return OmegaConf.to_container(_without_hydra(config), resolve=False)  # type: ignore[return-value]


@contextlib.contextmanager
def _hydra(line: CommandLine) -> Iterator[None]:
    """Context in which configurations can be composed; converts Hydra's errors to ``ConfigError``."""
    register_resolvers()
    GlobalHydra.instance().clear()
    if any("hydra.searchpath" in word for word in line.overrides):  # composing would import packages named there
        raise ConfigError("hydra.searchpath is not allowed: put the file into conf/experiment/ instead.")
    with initialize_config_dir(config_dir=str(CONF), job_name=CONFIG_NAME, version_base="1.3"):
        try:
            yield
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            place = f"{mark.name}, line {mark.line + 1}," if mark else "A file in conf/"
            raise ConfigError(f"{place} is not YAML: {getattr(error, 'problem', error)}.") from None
        except UnicodeDecodeError as error:
            raise ConfigError(f"A file in conf/ is not UTF-8 text ({error}).") from None
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            raise ConfigError(_explain(error, line.overrides, _known_keys(line))) from None


def _without_hydra(config: DictConfig) -> DictConfig:
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def _ends(fixed: list[str], space: list[Dimension]) -> list[list[str]]:
    """Overrides of jobs at both ends of each dimension of a search, with the other dimensions at their first value."""
    if not space:
        raise ConfigError("this search has no space: give settings ranges, as in 'optimizer.lr=interval(1e-4,1e-1)'.")
    begins = {dimension.key: dimension.extremes[0] for dimension in space}
    return [[*fixed, *({**begins, dimension.key: end}.values())] for dimension in space for end in dimension.extremes]


def _earlier_settings(word: str | None, space: Sequence[Dimension]) -> list[dict[str, Any]]:
    """The settings of the best finished runs that ``hydra.sweeper.start_from`` selects, as far as they lie in the space.

    Raises:
        ConfigError: it selects no finished run.
    """
    if word is None:
        return []
    try:
        runs = [(summary(record), record) for record in find_several([word])]
    except RunNotFound as error:
        raise ConfigError(f"hydra.sweeper.start_from={error}") from error
    done = sorted(((run.rank, record) for run, record in runs if run.status == "done"), key=lambda one: one[0])
    if not done:
        raise ConfigError(f"hydra.sweeper.start_from={word}: no run of it is finished; name another.")
    settings = [settings_of(record) for _, record in done[:_STARTS]]
    return [{d.key: one[d.key] for d in space if d.key in one and d.contains(one[d.key])} for one in settings]


def checked(config: DictConfig, typed: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Resolve a composed configuration to plain values and check it; secrets are references to environment variables.

    Args:
        config: the configuration without the hydra node.
        typed: see ``check``.

    Raises:
        ConfigError: the configuration is invalid; the message has one line per error.
    """
    unused = _unused(config)
    used = OmegaConf.masked_copy(config, [str(key) for key in config if key not in unused])
    plain = OmegaConf.to_container(used, resolve=True, throw_on_missing=True)
    assert isinstance(plain, dict)
    settings = check({**dict.fromkeys(unused), **plain}, typed)  # type: ignore[dict-item]
    task = settings["task"]
    runs = {name: _id_of(task[name], f"task.{name}") for name in _runs_in(task)}
    return conceal_config({**settings, "task": {**task, **runs}, "init_from": _checkpoint_of(settings["init_from"])})


def _runs_in(task: Mapping[str, Any] | DictConfig) -> list[str]:
    """The settings of a task that name a run (``src.bounds.Run``) and are set."""
    properties = _schema(task, "task").get("properties", {})
    return [name for name, one in properties.items() if one.get("format") == "run" and task.get(name) is not None]


def _id_of(word: str, key: str) -> str:
    """The id of the run that a setting names; its directory if that is a copy or outside outputs/.

    Raises:
        ConfigError: there is no such run.
    """
    try:
        record = find(word)
    except RunNotFound as error:
        raise ConfigError(f"{key}={error}") from error
    folder = record.directory.parent
    has_id = not record.is_copy and (folder == runs_dir() or folder.parent == sweeps_dir())
    return str(record.values["id"] if has_id else record.directory)


def _checkpoint_of(init_from: str | Mapping[str, Any] | None) -> dict[str, Any] | None:
    """``init_from`` with its path resolved: a checkpoint file, or the best checkpoint of a run.

    Raises:
        ConfigError: ``init_from`` is malformed, or the run or file does not exist.
    """
    if init_from is None:
        return None
    given = {"path": init_from} if isinstance(init_from, str) else dict(init_from)
    strict, word = given.pop("strict", True), given.pop("path", None)
    if given or not isinstance(word, str) or not isinstance(strict, bool):
        raise ConfigError("init_from must be a run or a file, or {path: RUN, strict: false}.")
    run, path = None, from_root(word)
    if not path.is_file():
        try:
            record = find(word)
        except RunNotFound as error:
            raise ConfigError(f"init_from={error}") from error
        run, path = (
            record.values["id"],
            record.directory / (record.values["best"]["checkpoint"] or "checkpoints/last.ckpt"),
        )
    if not path.is_file():
        raise ConfigError(f"init_from={word}: {path} is missing: the run has no checkpoint.")
    return {"run": run, "path": str(path), "strict": strict}


def _known_keys(line: CommandLine) -> set[str]:
    """Every dotted key of the configuration, with the group choices of the command line if they can be composed."""
    choices = [word for word in line.overrides if (CONF / word.partition("=")[0]).is_dir()]
    for words in (choices, []):
        with contextlib.suppress(HydraException, ValueError):
            config = compose(CONFIG_NAME, overrides=words)
            break
    else:
        return set()

    def walk(node: DictConfig, prefix: str) -> Iterable[str]:
        for key, value in node.items_ex(resolve=False):
            assert isinstance(key, str)
            yield f"{prefix}{key}"
            if isinstance(value, DictConfig):
                yield from walk(value, f"{prefix}{key}.")

    return {*walk(config, ""), *_defaults(config)}


def _defaults(config: DictConfig) -> Iterator[str]:
    """Dotted keys of all settings of the configured objects, including those left at their defaults."""
    nodes = [(group, group, config.get(group)) for group in ONE]
    nodes += [(group, f"{group}.{name}", node) for group in MANY for name, node in (config.get(group) or {}).items()]
    for group, prefix, node in nodes:
        with contextlib.suppress(ConfigError, AttributeError):  # an invalid node is reported elsewhere
            properties = schema_of(node.get("_target_"), group)["properties"]
            yield from (f"{prefix}.{name}" for name in properties)


def _trainer_arguments() -> set[str]:
    return {f"trainer.{name}" for name in of_group("trainer")["trainer"]["properties"]}


def _explain(error: Exception, overrides: Iterable[str], known: set[str]) -> str:
    """Convert an error of Hydra or OmegaConf to a one-line message with the closest valid spelling."""
    text = " ".join(str(error).split())
    launcher = re.search(r"(?:In 'hydra/launcher/(\w+)': )?Could not (?:find|load) 'hydra/launcher/(\w+)'", text)
    if launcher and (package := EXTRAS.get(launcher.group(2))):
        return not_installed(f"hydra/launcher={launcher.group(1) or launcher.group(2)}", package)
    if found := re.search(r"Could not find 'hydra/(launcher|sweeper)/(\w+)'", text):
        part, choice = found.groups()
        choices = known_choices(part)
        return (
            f"hydra/{part}={choice}: there is no such choice{suggest(choice, choices)} (there are {', '.join(choices)})"
        )
    if found := re.search(r"does not support sweep type", text):
        return "a grid has only values that are listed; for a search over an interval add hydra/sweeper=optuna."
    if found := re.search(r"Could not (?:find|load) '(\w+)/([^']*)'", text):
        group, choice = found.groups()
        choices = sorted(path.stem for path in (CONF / group).glob("*.yaml"))
        if choices:
            return (
                f"{group}={choice}: there is no such choice{suggest(choice, choices)} (there are {', '.join(choices)})"
            )
    if found := re.search(r"Could not (?:override '|delete from config\. ')\+?([\w./@-]+)'", text):
        key = found.group(1)
        if key in known or key in (arguments := _trainer_arguments()):
            remedy = f"set it by +{key}=..." if "override" in found.group() else "there is nothing to delete."
            return f"{key} is not in the configuration and has its default: {remedy}"
        if (CONF / key).is_dir():
            return f"{key}: it is chosen by name, as in {key}={next((CONF / key).glob('*.yaml')).stem}."
        group = key.partition(".")[0]
        hint = renamed(key) or suggest_key(key, known) or suggest_key(key, arguments) or _siblings(key, known)
        if any(word.startswith((f"{group}=custom", f"{group}._target_=")) for word in overrides):
            hint = f"; a parameter of the class that no YAML file lists is set by +{key}=..."
        return f"{key}: there is no such setting or group{hint}"
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} is missing: set it, as in {error.full_key}=..."
    if found := re.search(r"Multiple values for (\w+)\. To override", text):
        return f"{found.group(1)} is chosen already: write {found.group(1)}= without +."
    if found := re.search(r"Interpolation key '([^']+)' not found", text):
        name = found.group(1)
        return f"{name} is missing, and {_key_of(error)} refers to it: set it in its file in conf/, or as +{name}=..."
    if found := re.search(r"Environment variable '([^']+)' not found", text):
        return f"{_key_of(error)} refers to the environment variable {found.group(1)}, which is not set."
    if found := re.search(r"Sweep parameters '(.+)' requires --multirun", text):
        return f"{found.group(1)}: several values make a sweep, which needs -m."
    if found := re.search(r"Ambiguous value for argument '([^']*)'", text):
        return f"{found.group(1)}: several values make a sweep, which needs -m; a list is written in brackets, [1,2]."
    if isinstance(error, OverrideParseException):
        word = str(error.override)
        if "=" not in word or word.count("[") != word.count("]"):
            return (
                f"{word!r} is not key=value: write it without spaces, as in optimizer.lr=0.05 or 'model.hidden=[256,128]', "
                "in quotes where it has brackets."
            )
        return (
            f"{error.override!r} cannot be read as key=value: put a value that holds spaces, quotes or anything but plain "
            "letters and digits into quotes, as in 'data.dir=\"my data\"'."
        )
    if found := re.search(r"Config group override must be a string or a list", text):
        groups = [word for word in overrides if (CONF / word.partition("=")[0]).is_dir()]
        wrong = next((word for word in groups if not (CONF / f"{word.replace('=', '/', 1)}.yaml").is_file()), "a group")
        return f"{wrong}: a group is chosen by the name of one of its files."
    if key := _key_of(error):
        return f"{key}: {str(error).splitlines()[0]}."
    cause = " ".join(str(error.__cause__).split()) if error.__cause__ else ""
    return text if cause in text else f"{text} {cause}"


def _key_of(error: Exception) -> str | None:
    """The dotted key that OmegaConf failed to read, if the error has one."""
    return error.full_key if isinstance(error, OmegaConfBaseException) else None


def _siblings(key: str, known: Collection[str]) -> str:
    """``; optimizer has lr, betas, ...`` for a setting of a known group without a similar one; otherwise a full stop."""
    group = key.rpartition(".")[0]
    names = [one.removeprefix(f"{group}.") for one in known if group and one.startswith(f"{group}.")]
    names = [name for name in names if "." not in name and name != "_target_"]
    return f"; {group} has {', '.join(sorted(names))}." if names else "."
