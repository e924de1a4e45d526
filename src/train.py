"""Train a model and record the run.

    python -m src.train                                       784-128-64-10 on MNIST
    python -m src.train optimizer=sgd optimizer.lr=0.05       another choice, another setting
    python -m src.train experiment=article                    a set of choices
    python -m src.train trainer.devices=2                     two GPUs, or two CPU processes
    python -m src.train -m optimizer=sgd,adam seed=1,2        every combination, a run each
    python -m src.train --help                                everything that can be set

From top to bottom: ``main`` checks the command line, claims a directory and hands over to Hydra; Hydra calls ``job``
once, or once for each point of a multirun; ``job`` trains in ``src.fit`` and keeps the record.
"""

import logging
import shlex
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from src.config.command_line import CommandLine, parse, points, quoted_override
from src.config.compose import CONFIG_NAME, checked, preflight, register_resolvers
from src.errors import ConfigError, Interrupted, UserError
from src.launching.stop import raise_on_stop, undisturbed
from src.paths import CONF, RUNS, SWEEPS
from src.tracking.card import print_card, print_overview, shown
from src.tracking.environment import environment, git
from src.tracking.logs import LOG_NAME, log_to
from src.tracking.record import RECORD, Record, claim

log = logging.getLogger(__name__)
TENSORBOARD = "src.tracking.tensorboard.TensorBoard"
register_resolvers()


def main(argv: list[str] | None = None) -> int:
    """Run a command line and return its exit status: 0 done, 2 wrong, 130 or 143 told to stop, 1 any other failure."""
    raise_on_stop()
    try:
        line = parse(sys.argv[1:] if argv is None else argv)
        configs = [] if line.asks == "help" else preflight(line)
        if line.asks:
            _hand_to_hydra(line)
            return 0
        _check_machine(configs)
        git()  # a sweep's jobs run the code as it is now, whatever is committed while they do
        if line.multirun:
            return _multirun(line, claim(SWEEPS, "s"))
        return _single(line, claim(RUNS, "r"))
    except UserError as error:
        return _say(error, 2 if isinstance(error, ConfigError) else 1)
    except Interrupted as stop:
        return stop.exit_status


def _say(error: Exception, status: int) -> int:
    for sentence in str(error).splitlines():
        print(f"error: {sentence}", file=sys.stderr)
    return status


def _check_machine(configs: list[dict[str, Any]]) -> None:
    """The checks that need torch, once the others have passed; still before anything is written."""
    from src.fit import check_targets
    from src.launching.hardware import choose

    for config in configs:
        hardware = choose(config["trainer"])
        check_targets(config)
        if config["model"].get("norm") == "batch" and hardware.world > 1 and hardware.accelerator != "cuda":
            raise ConfigError(
                f"model.norm=batch on {hardware.world} CPU processes would normalise each share of a batch by itself and "
                "change the training: set model.norm=layer, or trainer.devices=1."
            )


def _hand_to_hydra(line: CommandLine, *extra: str) -> None:
    sys.argv = [sys.argv[0], *line.flags, *line.overrides, *extra]
    hydra.main(version_base="1.3", config_path=str(CONF), config_name=CONFIG_NAME)(job)()


def _single(line: CommandLine, directory: Path) -> int:
    status = 0
    try:
        _hand_to_hydra(line, quoted_override("hydra.run.dir", directory))
    except Interrupted as stop:
        status = stop.exit_status
    if (directory / RECORD).exists():  # not when it was stopped before it began
        record = Record.load(directory)
        print_card(record)
        status = status or int(record.values["status"] != "done")
    return status


def _multirun(line: CommandLine, directory: Path) -> int:
    status = 0
    try:
        _hand_to_hydra(line, quoted_override("hydra.sweep.dir", directory))
    except Interrupted as stop:
        status = stop.exit_status
    records = [Record.load(path.parent) for path in sorted(directory.glob(f"*/{RECORD}"))]
    started = {record.directory.name for record in records}
    missing = [shlex.join(job) for number, job in enumerate(points(line)) if f"{number:03d}" not in started]
    print_overview(directory.name, records, missing)
    failed = missing or any(record.values["status"] != "done" for record in records)
    return status or int(bool(failed))


def job(cfg: DictConfig) -> float | None:
    """Train one configuration and keep its record. Hydra calls this.

    Returns:
        The monitored metric's best value, for sweepers; None where there is none, or where the run failed.
    """
    from src.fit import fit
    from src.launching.hardware import choose, threads_per_process
    from src.launching.ranks import RankFailed, launch, run_here

    started = time.monotonic()
    context = HydraConfig.get()
    directory = Path(context.runtime.output_dir)
    multirun = context.mode == RunMode.MULTIRUN
    config = checked(cfg)
    hardware = choose(config["trainer"])
    threads = threads_per_process(hardware.devices)
    overrides = list(context.overrides.task)
    log_to(directory)
    record = Record.start(
        directory,
        sweep=directory.parent.name if multirun else None,
        config=config,
        overrides=overrides,
        command=shlex.join(["python", "-m", "src.train", *overrides]),
        git=git(),
        environment=environment(hardware.accelerator, hardware.devices, hardware.num_nodes, threads),
    )
    log.info("%s: %s", record.values["id"], " ".join(overrides) or "the default configuration")
    try:
        # A process that starts ranks must never compute, or what it forks may hang; so only a single run on one device
        # trains right here.
        if multirun or hardware.devices > 1:
            result = launch(fit, config, str(directory), hardware)
        else:
            result = run_here(fit, config, str(directory))
    except Interrupted:
        _finish(record, "interrupted", started)
        raise
    except UserError as error:
        log.error("%s", error)
        _finish(record, "failed", started, error=str(error))
        _say(error, 1)
    except Exception as error:
        cause = str(error) if isinstance(error, RankFailed) else f"{type(error).__name__}: {error}"
        log.error("the run failed\n%s", error.details if isinstance(error, RankFailed) else traceback.format_exc())
        _finish(record, "failed", started, error=cause.splitlines()[-1])
        print(f"error: {cause} (the traceback is in {shown(directory / LOG_NAME)})", file=sys.stderr)
    else:
        _finish(record, "done", started, **result)
    return record.values["best"]["value"] if record.values["status"] == "done" else None


def _finish(record: Record, status: str, started: float, **values: Any) -> None:
    """Close the record, and say in the run's event files how it ended."""
    with undisturbed():
        record.finish(status, started, **values)
        if any(node["_target_"] == TENSORBOARD for node in record.values["config"]["logger"].values()):
            from src.tracking.tensorboard import close_session

            close_session(record.directory, status)


if __name__ == "__main__":
    # Under its own name, so that what other processes are handed can be imported there.
    from src.train import main as imported_main

    sys.exit(imported_main())
