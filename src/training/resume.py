"""Resuming from the command line: the run that ``resume=`` selects, and the few settings that may change."""

import copy
from typing import Any

from hydra.errors import HydraException

from src.config.check import check
from src.config.command_line import CommandLine
from src.config.hydra_internals import Override, parse_overrides
from src.config.schemas import SUPPLIED, schema_of
from src.errors import ConfigError, DataError, UserError
from src.masking import is_masked
from src.records.git import PATCH, git
from src.records.record import Record

_MAY_DIFFER = ("trainer.max_epochs", "trainer.devices", "trainer.num_nodes", "trainer.threads", "tags")
# The other schedules end with the last epoch: with another number of epochs, learning rates differ from the start.
_SCHEDULES_OF_ANY_LENGTH = {f"src.optim.schedules.{name}" for name in ("constant", "step", "exponential", "plateau")}
_PRIVATE = "src.tasks.private.PrivateClassifier"


def split_resume(line: CommandLine) -> tuple[str | None, list[str]]:
    """The value of ``resume=``, or None, and the other arguments of the command line.

    Raises:
        ConfigError: it is given more than once, in a sweep, or with a flag that starts no training.
    """
    words = [word for word in line.overrides if word.partition("=")[0] == "resume"]
    if not words:
        return None, line.overrides
    run = words[0].partition("=")[2].strip("'\"")
    if len(words) > 1 or run in ("", "null"):
        raise ConfigError("resume= names one run: resume=latest, or a run's id, name or directory.")
    if line.asks:
        raise ConfigError("resume= resumes a run, or with -m a sweep: leave out other flags.")
    return run, [word for word in line.overrides if word not in words]


def changed(record: Record, overrides: list[str]) -> dict[str, Any] | None:
    """The configuration of a resumed run; None if the run is finished.

    Raises:
        ConfigError: a setting cannot be changed when resuming, or not to this value.
        UserError: the run is running, would fail again, or was made by another version of this project.
    """
    run, id = record.values, record.values["id"]
    if record.is_busy:
        at = run["environment"]
        raise UserError(f"{id} is still running, as process {at['pid']} on {at['host']}.")
    config = copy.deepcopy(run["config"])
    for word in overrides:
        override = _parse(word)
        key = override.get_key_element()
        if key not in _MAY_DIFFER and not is_masked(_recorded(config, key)):
            raise ConfigError(
                f"{word}: a resumed run keeps its settings, and only {', '.join(_MAY_DIFFER)} may differ; start a new run."
            )
        group, _, name = key.rpartition(".")
        (_recorded(config, group) if group else config)[name] = _value(override)
    try:
        config = check(config)
    except ConfigError as error:
        if overrides:
            raise
        raise UserError(f"{id} was configured for another version of this project: {error}") from error
    before, after = run["config"]["trainer"]["max_epochs"], config["trainer"]["max_epochs"]
    schedule = config["schedule"]["_target_"] if config["schedule"] else ""
    needs_length = "max_epochs" in schema_of(schedule, "schedule")[SUPPLIED] if schedule else False
    if after != before and needs_length and schedule not in _SCHEDULES_OF_ANY_LENGTH:
        raise ConfigError(
            f"trainer.max_epochs={after}: {id} was planned for {before} epochs, and its learning rates would have differed from "
            f"the start, since schedule={schedule.rpartition('.')[2]} ends with the last epoch; start a new run."
        )
    if after != before and config["task"]["_target_"] == _PRIVATE and config["task"]["epsilon"] is not None:
        raise ConfigError(
            f"trainer.max_epochs={after}: the noise of {id} was computed for {before} epochs, and more of them would spend more than "
            f"task.epsilon={config['task']['epsilon']:g}; start a new run."
        )
    if after < before:
        raise ConfigError(f"trainer.max_epochs={after} is less than the {before} that {id} was planned for.")
    # The data may have been repaired in the meantime, and errors in it are found immediately.
    if record.would_fail_again and run["error_type"] != DataError.__name__ and not _has_changed(record, overrides):
        raise UserError(
            f"{id} would fail again, since neither its settings nor the code have changed: start a new run instead. "
            f"Its error was: {' '.join(run['error'].split())}"
        )
    return None if record.is_finished and after == before else config


def _has_changed(record: Record, overrides: list[str]) -> bool:
    """Whether settings that affect the training, or the code, are known to differ from those of the run."""
    if any(not word.startswith(("tags=", "trainer.max_epochs=")) for word in overrides):
        return True
    here, there = git(), record.values["git"]
    if here is None or there is None:
        return False
    patch = (record.directory / PATCH).read_bytes() if there["patch"] else None
    return (here["commit"], here["patch"]) != (there["commit"], patch)


def _recorded(config: Any, key: str) -> Any:
    """The value of a dotted key in a configuration; None if it does not exist."""
    for part in key.split("."):
        config = config.get(part) if isinstance(config, dict) else None
    return config


def _parse(word: str) -> Override:
    try:
        [override] = parse_overrides([word])
    except HydraException:
        raise ConfigError(f"{word!r} cannot be read as key=value.") from None
    if override.is_sweep_override() or override.is_delete() or override.is_add():
        raise ConfigError(f"{word}: with resume= overrides must be plain key=value.")
    return override


def _value(override: Override) -> Any:
    """The value as Hydra would read it, lists and numbers included."""
    value = override.value()
    return value if isinstance(value, int | float | list | str) or value is None else str(value)
