"""Train a model and record the run.

    python -m src.train                                       784-128-64-10 on MNIST
    python -m src.train optimizer=sgd optimizer.lr=0.05       another choice, another setting
    python -m src.train experiment=article                    a set of choices
    python -m src.train trainer.devices=2                     two GPUs, or two CPU processes
    python -m src.train -m optimizer=sgd,adam seed=1,2        every combination, a run each
    python -m src.train -m sweep=mlp                          a search by Optuna
    python -m src.train resume=latest                         go on where the latest run was cut off
    python -m src.train -m resume=latest                      what the latest sweep lacks
    python -m src.train --help                                everything that can be set

From top to bottom: ``main`` composes and checks the command line, claims a directory and hands over to Hydra; Hydra calls
``job`` once, or once for each point of a multirun; ``src.training.run`` trains and keeps the record. A run that is resumed goes round
Hydra: its configuration is in its record.
"""

import io
import signal
import sys
from contextlib import redirect_stdout, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.callbacks import Callbacks
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import run_job
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, read_write

from src.command import exit_with
from src.config.command_line import CommandLine, parse, quoted_override
from src.config.compose import CHOICES, CONFIG_NAME, Plan, checked, help_text, make_plan, register_resolvers
from src.errors import ConfigError, Interrupted, UserError
from src.files import describe, write
from src.launching.cluster import Place, as_overrides, place, requeue, requeued
from src.launching.meeting import leave, meeting, report, speaks
from src.launching.stop import end_on_stop, raise_on_stop, received
from src.masking import conceal_words, is_masked, mask, reveal
from src.paths import CONF, RUNS, SWEEPS, shown
from src.records.environment import git
from src.records.find import check_name, find_to_resume, of_slurm_job
from src.records.lock import owned
from src.records.record import RECORD, Record, claim
from src.records.sweep import STORAGE, Sweep, find_sweep
from src.sweeps.jobs import callbacks_of_trial, carry_out_job
from src.sweeps.resume import changed_sweep, check_unchanged
from src.sweeps.storage import check_storage
from src.sweeps.workers import prepare_workers
from src.terminal import survive_closed_output
from src.training.resume import changed, split_resume
from src.training.run import begin, follow, go_on, say
from src.views.card import print_card
from src.views.leaderboard import leave_leaderboard
from src.views.overview import print_overview

register_resolvers()


def main(argv: list[str] | None = None) -> int:
    """Run a command line and return its exit status: 0 done, 2 wrong, 129, 130, 138 or 143 told to stop, 1 any other failure."""
    survive_closed_output()
    raise_on_stop()
    status = 1
    try:
        status = _lead(sys.argv[1:] if argv is None else argv)
    except Interrupted as stop:
        end_on_stop()  # another signal has nothing left to interrupt
        status = stop.exit_status
        report(stop)
    except Exception as error:
        report(error)
        status = _explain(error)
    finally:
        with suppress(Interrupted):
            leave(status)
    return status


def _explain(error: Exception) -> int:
    """Print a mistake of the user's and return the exit status; raise anything else."""
    if signum := received():
        return Interrupted(signum).exit_status
    if isinstance(error, UserError):
        message = str(error)
    elif isinstance(error, OSError):
        message = describe(error)
    else:
        raise error
    if speaks(error):
        say(message)
    return 2 if isinstance(error, ConfigError) else 1


def _lead(argv: list[str]) -> int:
    line = parse(conceal_words(argv))
    here = place()
    if here:
        if line.multirun:
            raise ConfigError("-m: under torchrun or srun the ranks train one run; start the sweep without them.")
        line = replace(line, overrides=[*line.overrides, *as_overrides(here, line.overrides)])
    word, changes = split_resume(line)
    if here and here.rank:
        return _as_another_rank(here, line, resumes=word is not None)
    if word is None and requeued() and not line.asks and (record := of_slurm_job(line.overrides)):
        word, changes = str(record.directory), []
    if word is not None:
        if here:
            meeting()  # from here on the others depend on what is found
        return _resume_sweep(find_sweep(word), changes) if line.multirun else _resume(find_to_resume(word), changes)
    if line.asks == "help":
        print(mask(help_text(line)), end="")
        return 0
    if line.asks != "hydra":
        plan = make_plan(line)
    if line.asks:
        answer = io.StringIO()
        try:
            with redirect_stdout(answer):
                _hand_to_hydra(line)
        finally:
            print(mask(answer.getvalue()), end="")
        return 0
    for config in plan.configs:
        check_name(config["name"])
    _announce(_summary(plan), SWEEPS if line.multirun else RUNS)
    _check_machine(plan.configs)
    if line.multirun:
        return _multirun(line, plan)
    if here:
        meeting().gather()
    return _single(plan, claim(RUNS, "r"))


def _announce(what: str, directory: Path) -> None:
    """Print what begins, and where its files will be, before the seconds that importing torch takes."""
    print(f"training {what}, in {shown(directory)}", flush=True)


def _summary(plan: Plan) -> str:
    """What a command line trains, in a line."""
    choices, epochs = plan.composed.hydra.runtime.choices, plan.configs[0]["trainer"]["max_epochs"]
    what = f"{choices['model']} on {choices['data']} with {choices['optimizer']}, {epochs} epochs, trainer={choices['trainer']}"
    if plan.search:
        return f"{plan.search['n_trials']} jobs of a search, such as {what}"
    jobs = len(plan.jobs or [])
    return what if jobs == 1 else f"{jobs} jobs, the first {what}"


def _as_another_rank(here: Place, line: CommandLine, resumes: bool) -> int:
    """Check the command line as rank 0 does, which alone answers it, and train what it publishes."""
    if line.asks:
        return 0
    if not resumes:
        _check_machine(make_plan(line).configs)
    return follow(here, callbacks_of_trial)


def _check_machine(configs: list[dict[str, Any]]) -> None:
    """The checks that need torch, once the others have passed; still before anything is written."""
    from src.launching.hardware import choose
    from src.training.fit import check_targets

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
    try:
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=CONFIG_NAME)(job)()
    except SystemExit:  # Hydra's way to end after an error of its own
        if signum := received():
            raise Interrupted(signum) from None
        raise


def job(cfg: DictConfig) -> float | None:
    """Train one configuration and keep its record. Hydra calls this.

    Returns:
        The monitored metric's best value, for sweepers; None where there is none, or where the run failed.
    """
    context = HydraConfig.get()
    directory, overrides = Path(context.runtime.output_dir), list(context.overrides.task)
    choices = {group: context.runtime.choices.get(group) for group in CHOICES}
    try:
        config = checked(cfg)
        _mask_what_hydra_wrote(directory)
        if context.mode == RunMode.MULTIRUN:
            record = carry_out_job(directory, config, overrides, choices)
        else:
            record = begin(directory, config, overrides, choices, git())
    except OSError as error:
        say(f"{directory} cannot be written: {describe(error)}")
        return None
    return record.values["best"]["value"] if record and record.values["status"] == "done" else None


def _mask_what_hydra_wrote(directory: Path) -> None:
    """Take secrets that stand in a file of conf/ out of Hydra's copies; those of the command line are not in them."""
    for path in [*directory.glob(".hydra/*.yaml"), *directory.parent.glob("multirun.yaml")]:
        if (text := path.read_text()) != (without := mask(text)):
            write(path, without)


def _single(plan: Plan, directory: Path) -> int:
    """Have Hydra run the one job as it is composed already; ``hydra.main`` would compose it twice more, which takes longer
    than all else before the first step.
    """
    config = plan.composed
    with read_write(config.hydra):
        config.hydra.mode, config.hydra.run.dir = RunMode.RUN, str(directory)
    try:
        done = run_job(job, config, "hydra.run.dir", None, HydraContext(plan.loader, Callbacks()))
        _ = done.return_value  # raises what the job has raised
    except Interrupted as stop:
        return _sum_up(directory, stop)
    return _sum_up(directory)


def _resume(record: Record, changes: list[str]) -> int:
    config = changed(record, changes)
    if config is None:
        run = record.values
        print(
            f"{run['id']} is finished, all {run['config']['trainer']['max_epochs']} epochs: there is nothing to resume."
        )
        return 0
    _announce(f"{record.values['id']} from where it was cut off", record.directory)
    _check_machine([config])
    try:
        go_on(record.directory, config, changes, callbacks_of_trial(record.directory, config))
    except Interrupted as stop:
        return _sum_up(record.directory, stop)
    return _sum_up(record.directory)


def _sum_up(directory: Path, stop: Interrupted | None = None) -> int:
    """Print how the run ended, if it began at all, and return the exit status."""
    if (directory / RECORD).exists():
        record = Record.load(directory)
        print_card(record)
        status = int(record.values["status"] != "done")
    else:
        status = 1
    if stop and stop.signum == signal.SIGUSR1 and (problem := requeue()):
        say(f"the job could not be put back into SLURM's queue: {problem}")
    return stop.exit_status if stop else status


def _multirun(line: CommandLine, plan: Plan) -> int:
    mode = plan.configs[0]["mode"]
    if plan.search and not plan.configs[0]["monitor"]:
        raise ConfigError(
            "a search needs a monitor to judge by, and data.val_size=0 holds no samples out: set monitor=."
        )
    if plan.search and plan.search["storage"]:
        check_storage(reveal(plan.search["storage"], STORAGE))
    trials = plan.search["n_trials"] if plan.search else len(plan.jobs or [])
    directory = claim(SWEEPS, "s")
    # A sweep's jobs run the code as it is now, whatever is committed while they do.
    sweep = Sweep.start(
        directory, line.flags, line.overrides, jobs=plan.jobs, trials=trials, mode=mode, search=plan.search, git=git()
    )
    return _sweep(sweep, line, plan)


def _resume_sweep(sweep: Sweep, changes: list[str]) -> int:
    line = changed_sweep(sweep, changes)
    if sweep.is_finished:
        print(f"{sweep.values['id']} is finished, all {sweep.values['trials']} jobs: there is nothing to resume.")
        return 0
    plan = make_plan(line)
    _announce(f"what is left of {sweep.values['trials']} jobs", sweep.directory)
    _check_machine(plan.configs)
    if plan.search and plan.search["storage"]:
        check_storage(sweep.storage)
    check_unchanged(sweep, plan)
    return _sweep(sweep, line, plan)


def _storage(sweep: Sweep) -> list[str]:
    """The override that keeps the password of a search's storage, which may stand in a file, out of Hydra's own files."""
    address = (sweep.values["search"] or {}).get("storage")
    return [f"{STORAGE}='{address}'"] if is_masked(address) else []


def _sweep(sweep: Sweep, line: CommandLine, plan: Plan) -> int:
    """Have Hydra run the jobs, those that are done already excepted, and sum up."""
    status = 0
    with owned(sweep.directory):
        prepare_workers(plan.hydra["launcher"])
        try:
            _hand_to_hydra(line, quoted_override("hydra.sweep.dir", sweep.directory), *_storage(sweep))
        except Interrupted as stop:
            status = stop.exit_status
        except Exception as error:  # of the launcher, whose kinds are many: a worker killed, a scheduler that refuses
            if not received():
                say(f"the launcher gave up ({type(error).__name__}: {str(error).splitlines()[0]}).")
            status = 1
        if signum := received():
            status = Interrupted(signum).exit_status
        print_overview(sweep)
        leave_leaderboard(sweep)
    return status or int(not sweep.is_finished)


if __name__ == "__main__":
    # Under its own name, so that what other processes are handed can be imported there.
    from src.train import main as imported_main

    exit_with(imported_main())
