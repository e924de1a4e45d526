"""The lifecycle of a sweep: open its record, and run its jobs on this machine or by a Hydra launcher."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra

from src.config.command_line import FROZEN, CommandLine, quoted_override
from src.config.compose import CONFIG_NAME, Plan
from src.config.hydra import PROCESSES
from src.errors import ConfigError, Interrupted
from src.launching.share import shared_out
from src.launching.stop import pass_on_stop, received
from src.masking import is_masked, reveal
from src.paths import CONF, ROOT
from src.records.git import git
from src.records.sweep import STORAGE, Sweep
from src.sweeps.jobs import job
from src.sweeps.storage import check_storage
from src.training.run import say


def check_search(plan: Plan) -> None:
    """Check the requirements of a search besides a valid configuration; no-op for a grid.

    Raises:
        ConfigError: there is no metric to optimize, or the storage cannot be used.
    """
    if plan.search and not plan.objectives and not plan.configs[0]["monitor"]:
        raise ConfigError(
            "monitor=null: a search needs a metric to optimize: set monitor to one that the task logs, as in monitor=val_loss."
        )
    if plan.search and plan.search["storage"]:
        check_storage(reveal(plan.search["storage"], STORAGE))


def begin_sweep(directory: Path, line: CommandLine, plan: Plan, skipped: Mapping[int, str] = {}) -> Sweep:
    """Open the record of a sweep.

    Args:
        directory: the sweep's directory, claimed by this process.
        line: the command line.
        plan: the plan composed from it.
        skipped: skipped jobs, each with the run that had its settings.
    """
    return Sweep.start(
        directory,
        line.flags,
        line.overrides,
        jobs=plan.jobs,
        trials=None if plan.trials is None else plan.trials - len(skipped),
        mode=plan.configs[0]["mode"],
        objectives=plan.objectives,
        search=plan.search,
        git=git(),
        own_flags=line.own_flags,
        skipped=skipped,
        frozen=FROZEN in line.own_flags,
    )


def run_jobs(sweep: Sweep, line: CommandLine, plan: Plan) -> int:
    """Run the unfinished jobs; return 0, or another exit status if a signal or an error of the launcher ended the sweep.

    Args:
        sweep: its record.
        line: the command line.
        plan: the plan composed from it.
    """
    status = 0
    try:
        if plan.hydra["launcher"]["_target_"] == PROCESSES:
            from src.sweeps.local import run_sweep

            run_sweep(sweep, plan)
        else:
            _run_by_hydra(sweep, line, plan.hydra["launcher"])
    except Interrupted as stop:
        status = stop.exit_status
    except Exception as error:  # any error of a launcher, such as a killed worker or a scheduler's rejection
        if not received():
            say(f"the launcher gave up ({type(error).__name__}: {str(error).splitlines()[0]}).")
        status = 1
    signum = received()
    return Interrupted(signum).exit_status if signum else status


def _run_by_hydra(sweep: Sweep, line: CommandLine, launcher: Mapping[str, Any]) -> None:
    # The password of a storage may come from a file in conf/, and must not be in the files that Hydra writes.
    address = (sweep.values["search"] or {}).get("storage")
    storage = [f"{STORAGE}='{address}'"] if is_masked(address) else []
    with _prepared(launcher):
        hand_to_hydra(line, quoted_override("hydra.sweep.dir", sweep.directory), *storage)
    sweep.values = Sweep.load(sweep.directory).values  # which the sweeper has changed


def hand_to_hydra(line: CommandLine, *extra: str) -> None:
    """Call ``hydra.main`` with a command line and further overrides."""
    sys.argv = [sys.argv[0], *line.flags, *line.overrides, *extra]
    try:
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=CONFIG_NAME)(job)()
    except SystemExit:  # raised by Hydra after printing an error
        if signum := received():
            raise Interrupted(signum) from None
        raise


@contextmanager
def _prepared(launcher: Mapping[str, Any]) -> Iterator[None]:
    """Set up the launcher's processes to import the project; those of joblib share this machine and receive its signals."""
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *(path for path in paths if path)])
    if launcher["_target_"].endswith(".JoblibLauncher"):
        import torch
        from joblib import effective_n_jobs

        if (jobs := effective_n_jobs(launcher["n_jobs"])) > 1:
            pass_on_stop()
            with shared_out(jobs, torch.get_num_threads()):
                yield
            return
    yield
