"""The lifecycle of a run: open its record, train in the right processes, close its record."""

import logging
import os
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.errors import ConfigError, Interrupted, UserError
from src.files import is_full, sweep_up
from src.launching.cluster import RankInfo
from src.launching.logs import LOG_NAME, log_to
from src.launching.processes import RankFailed, no_message, signal_of
from src.launching.share import gpus_of_a_job
from src.launching.stop import STOP, received, undisturbed
from src.launching.store import RankStore
from src.masking import mask, moved
from src.paths import shown
from src.records.environment import environment
from src.records.git import store_patch
from src.records.lock import owned
from src.records.record import RECORD, Record

if TYPE_CHECKING:
    import lightning.pytorch as pl

log = logging.getLogger(__name__)
_TENSORBOARD = "src.loggers.tensorboard.TensorBoard"


def say(error: Exception | str) -> None:
    """Print an error message, one line per sentence."""
    for sentence in mask(str(error)).splitlines():
        print(f"error: {sentence}", file=sys.stderr)


def check_machine(
    configs: list[dict[str, Any]], ranks: RankInfo | None = None, objects: Mapping[str, Any] = {}
) -> None:
    """Run the checks that need torch, after all others and before anything is written.

    Raises:
        ConfigError: this machine lacks the configured devices, or a configured object cannot be built.
    """
    from src.launching.hardware import choose
    from src.training.check import check_targets

    for config in configs:
        if ranks is None and (nodes := config["trainer"]["num_nodes"]) > 1:
            raise ConfigError(
                f"trainer.num_nodes={nodes}: a command by itself trains on one machine; start it by torchrun or srun on "
                "each, which then know the number, and leave this out."
            )
        hardware = choose(config["trainer"])
        check_targets(config, objects)
        if (config["model"] or {}).get("norm") == "batch" and hardware.world > 1 and hardware.accelerator != "cuda":
            raise ConfigError(
                f"model.norm=batch on {hardware.world} CPU processes would normalise each share of a batch by itself and "
                "change the training: set model.norm=layer, or trainer.devices=1."
            )


def begin(
    directory: Path,
    config: dict[str, Any],
    overrides: list[str],
    choices: dict[str, str | None],
    code: dict[str, Any] | None,
    sweep: str | None = None,
    callbacks: "Sequence[pl.Callback]" = (),
    store: RankStore | None = None,
    objects: Mapping[str, Any] = {},
    starts_others: bool = False,
) -> Record:
    """Train a configuration in a directory claimed by this process, and keep the record there.

    Args:
        directory: the run's directory.
        config: a checked configuration.
        overrides: the command line overrides it was composed with.
        choices: the selected option of each config group.
        code: the state of the git repository.
        sweep: id of the sweep, for a job of one.
        callbacks: callbacks in addition to the configured ones.
        store: the store of all ranks, if torchrun or srun started this one.
        objects: ``task`` and ``data`` that replace the configured ones.
        starts_others: whether this process starts further runs after this one.

    Returns:
        The closed record; its status says how it ended.

    Raises:
        Interrupted: a signal stopped the run; its state is saved.
        OSError: the record cannot be opened.
    """
    with owned(directory):
        log_to(directory)
        code = store_patch(code, directory)
        record = Record.start(
            directory,
            sweep=sweep,
            config=config,
            overrides=overrides,
            choices=choices,
            command=shlex.join(["python", "-m", "src.train", *overrides]),
            git=code,
            environment=_environment(config),
        )
        log.info("%s: %s", record.values["id"], " ".join(overrides) or "the default configuration")
        if code and (problem := code.get("problem")):
            record.warn(f"the code is not recorded in full: {problem}")
            log.warning("the code is not recorded in full: %s", problem)
        _carry_out(record, None, callbacks, store, objects, starts_others)
    return record


def go_on(
    directory: Path,
    config: dict[str, Any],
    overrides: list[str],
    callbacks: "Sequence[pl.Callback]" = (),
    store: RankStore | None = None,
    starts_others: bool = False,
) -> Record:
    """Resume an interrupted run from its newest intact checkpoint.

    Args:
        directory: the run's directory.
        config: its configuration, including changed settings.
        overrides: the overrides that change settings.
        callbacks: callbacks in addition to the configured ones.
        store: as for ``begin``.
        starts_others: as for ``begin``.

    Returns:
        The closed record.

    Raises:
        UserError: another process is training the run, or its checkpoints are damaged.
        Interrupted: as from ``begin``.
    """
    from src.training.checkpoints import FOLDER, newest

    record = Record.load(directory)
    if record.is_busy:
        at = record.values["environment"]
        raise UserError(f"{record.values['id']} is still running, as process {at['pid']} on {at['host']}.")
    with owned(directory):
        sweep_up(directory)
        sweep_up(directory / FOLDER)
        record = Record.load(directory)
        checkpoint = newest(directory / FOLDER)
        if checkpoint is None and (record.values["metrics"] or record.values["best"]["checkpoint"]):
            raise UserError(
                f"{directory / FOLDER} is empty, and the run had got further: its checkpoints were removed."
            )
        if checkpoint is None:
            _clear(directory)
        log_to(directory)
        record.reopen(config, overrides, _environment(config))
        start = f"from {shown(checkpoint)}" if checkpoint else "from the beginning: it had no checkpoint yet"
        log.info("%s resumes %s", record.values["id"], start)
        _carry_out(record, checkpoint, callbacks, store, {}, starts_others)
    return record


def _clear(directory: Path) -> None:
    """Remove the curves of an attempt without a checkpoint: the run starts over and writes them again."""
    for path in [*directory.glob("events.out.tfevents.*"), *directory.glob("metrics.csv")]:
        path.unlink()


def run_worker(
    store: RankStore,
    configs: list[dict[str, Any]],
    callbacks_for: "Callable[[Path, dict[str, Any]], Sequence[pl.Callback]]",
) -> int:
    """Train as a nonzero rank started by torchrun or srun, with the run published by rank 0; return the exit status.

    Args:
        store: the store shared by all ranks.
        configs: the composed configurations, checked here as on rank 0; empty if a run is resumed.
        callbacks_for: returns the additional callbacks, given the run's directory and configuration.

    Raises:
        ConfigError: see ``check_machine``.
        UserError: rank 0 cannot be reached, or does not start the run.
        Interrupted: a signal stopped this rank.
    """
    from src.launching.hardware import choose
    from src.launching.launchers import StartedRank
    from src.training.fit import fit

    check_machine(configs, store.ranks)
    store.register()
    message = store.wait_for_message()
    if "exit_status" in message:
        return int(message["exit_status"])
    config, directory = message["config"], message["directory"]
    os.environ.update(message["environment"])
    log_to(Path(directory), store.ranks.rank, alone=True)
    try:
        callbacks = callbacks_for(Path(directory), config)
        train = partial(fit, config, directory, callbacks, message["checkpoint"])
        StartedRank(store, choose(config["trainer"])).launch(train, directory)
    except Exception as error:  # rank 0 is notified, and prints and records it
        log.error("rank %d failed: %s\n%s", store.ranks.rank, error, getattr(error, "details", ""))
        return 1
    return 0


def _environment(config: dict[str, Any]) -> dict[str, Any]:
    from src.launching.hardware import choose
    from src.numerics import strict_mode

    hardware = choose(config["trainer"])
    return {
        **environment(),
        "accelerator": hardware.accelerator,
        "devices": hardware.devices,
        "num_nodes": hardware.num_nodes,
        "threads": hardware.threads,
        "mkl_cbwr": strict_mode(),
    }


def _carry_out(
    record: Record,
    checkpoint: Path | None,
    callbacks: "Sequence[pl.Callback]",
    store: RankStore | None,
    objects: Mapping[str, Any],
    starts_others: bool,
) -> None:
    started = time.monotonic()
    try:
        _launch(record, checkpoint, callbacks, store, objects, starts_others)
    except Interrupted:
        _close(record, "interrupted", started)
        raise
    except Exception as error:
        if signum := received():
            _close(record, "interrupted", started)
            raise Interrupted(signum) from error
        if isinstance(error, UserError):
            log.error("%s", error)
            say(error)
            _close(record, "failed", started, error=str(error), error_type=type(error).__name__)
            return
        cause = str(error) if isinstance(error, RankFailed) else f"{type(error).__name__}: {error}"
        cause = cause.splitlines()[0]  # torch's messages can be a page long; the log contains all of it
        log.error("the run failed\n%s", error.details if isinstance(error, RankFailed) else traceback.format_exc())
        print(f"error: {mask(cause)} (the traceback is in {shown(record.directory / LOG_NAME)})", file=sys.stderr)
        _close(record, "failed", started, error=cause, error_type=type(error).__name__)
    else:
        _close(record, "done", started)


def _launch(
    record: Record,
    checkpoint: Path | None,
    callbacks: "Sequence[pl.Callback]",
    store: RankStore | None,
    objects: Mapping[str, Any],
    starts_others: bool,
) -> None:
    from src.launching.hardware import choose, visible_gpus
    from src.launching.launchers import launcher_for
    from src.training.fit import fit

    config, directory = record.values["config"], str(record.directory)
    hardware, start = choose(config["trainer"]), None if checkpoint is None else str(checkpoint)
    if store is not None:
        store.publish({"config": config, "directory": directory, "checkpoint": start, "environment": moved()})
    launcher = launcher_for(hardware, store, config["trainer"]["max_minutes"], starts_others)
    with gpus_of_a_job(record.directory.parent, visible_gpus(hardware), hardware.devices):
        launcher.launch(partial(fit, config, directory, callbacks, start, objects), directory)


def close_killed(directory: Path, pid: int, exit_status: int) -> None:
    """Close the record of a run whose process ended without closing it, for example because it was killed.

    Args:
        directory: the run's directory.
        pid: process ID.
        exit_status: exit status of the process; the negative signal number if a signal killed it.
    """
    if not (directory / RECORD).exists() or (record := Record.load(directory)).values["status"] != "running":
        return
    began = datetime.fromisoformat(([{"at": record.values["started"]}, *record.values["resumed"]])[-1]["at"])
    started = time.monotonic() - (datetime.now(UTC) - began).total_seconds()
    if signal_of(exit_status) in STOP:
        _close(record, "interrupted", started)
    else:
        error = RankFailed(no_message(pid, exit_status))
        _close(record, "failed", started, error=str(error), error_type=type(error).__name__)


def _close(record: Record, status: str, started: float, **values: Any) -> None:
    """Close the record, and write the final status to the run's event files."""
    with undisturbed():
        try:
            record.finish(status, started, **values)
            if any(node["_target_"] == _TENSORBOARD for node in record.values["config"]["logger"].values()):
                from src.loggers.tensorboard import close_session

                close_session(record)
        except OSError as error:
            if not is_full(error):
                raise
            say(
                f"{record.directory / RECORD} cannot be written ({error.strerror}): the run is {status}, and its record is behind."
            )
