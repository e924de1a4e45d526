"""Train a model and record the run.

    python -m src.train                                       784-128-64-10 on MNIST
    python -m src.train optimizer=sgd optimizer.lr=0.05       another choice, another setting
    python -m src.train experiment=article                    a set of choices
    python -m src.train trainer.devices=2                     two GPUs, or two CPU processes
    python -m src.train -m optimizer=sgd,adam seed=1,2        every combination, a run each
    python -m src.train -m sweep=mlp                          a search by Optuna
    python -m src.train resume=latest                         resume the latest interrupted run
    python -m src.train -m resume=latest                      resume the latest sweep: run the jobs it lacks
    python -m src.train --help                                all groups and settings

From Python, ``src.api.train(["optimizer=sgd"])`` does the same and returns the record.

``main`` composes and checks the command line and claims a directory; ``src.training.run`` then trains a single run, and
``src.sweeps.run`` has Hydra call a job for each point of a multirun. A resumed run takes its configuration from its record.
"""

import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.command import exit_with
from src.config.command_line import FROZEN, SKIP_DONE, CommandLine, parse
from src.config.command_line import build_parser as build_parser
from src.config.compose import Plan, check_package, help_text, make_plan
from src.errors import ConfigError, Interrupted, UserError
from src.files import describe
from src.launching.cluster import RankInfo, requeue, requeued_job
from src.launching.stop import end_on_stop, raise_on_stop, received
from src.launching.store import RankStore
from src.masking import conceal_words, mask
from src.notifications import Notifications, configured
from src.paths import runs_dir, shown, sweeps_dir
from src.records.find import check_format, check_name, find_to_resume, of_slurm_job
from src.records.git import difference, git
from src.records.lock import owned
from src.records.record import RECORD, Record, claim
from src.records.sweep import Sweep, find_sweep
from src.sweeps.frozen import check_can_freeze, is_frozen, run_frozen
from src.sweeps.jobs import callbacks_of_trial
from src.sweeps.resume import changed_sweep, check_unchanged
from src.sweeps.run import begin_sweep, check_search, hand_to_hydra, run_jobs
from src.terminal import survive_closed_output
from src.training.resume import changed, split_resume
from src.training.run import begin, check_machine, go_on, run_worker, say
from src.views.card import print_card
from src.views.events import run_event, sweep_event
from src.views.leaderboard import leave_leaderboard
from src.views.overview import print_overview
from src.views.plan import jobs_to_skip, print_plan

if TYPE_CHECKING:
    import lightning.pytorch as pl


def main(argv: list[str] | None = None, report: int | None = None) -> int:
    """Run a command line and return its exit status.

    The status is 0 on success, 2 for an invalid command line, 128 plus the signal's number (129, 130, 138, 143) if a signal
    stopped the training, and 1 for any other failure.

    Args:
        argv: command line arguments; by default those of this process.
        report: file descriptor to which the directory of the record is written, if there is one.
    """
    survive_closed_output()
    raise_on_stop()
    status, store = 1, None
    try:
        if ranks := RankInfo.from_environment():
            store = RankStore(ranks)
        status, directory = _run(sys.argv[1:] if argv is None else argv, store)
        if report is not None and directory is not None:
            os.write(report, os.fsencode(directory))
    except Interrupted as stop:
        end_on_stop()  # another signal has nothing left to interrupt
        status = stop.exit_status
        if store:
            store.fail(stop)
    except Exception as error:
        if store:
            store.fail(error)
        status = _explain(error, store)
    finally:
        if store:
            store.leave(status)
    return status


def _explain(error: Exception, store: RankStore | None) -> int:
    """Print an error that the user can fix and return the exit status; raise anything else."""
    if signum := received():
        return Interrupted(signum).exit_status
    if not isinstance(error, UserError | OSError):
        raise error
    if store is None or store.prints(error):
        say(describe(error) if isinstance(error, OSError) else error)
    else:
        store.let_print()
    return 2 if isinstance(error, ConfigError) else 1


def _run(argv: list[str], store: RankStore | None) -> tuple[int, Path | None]:
    """Run a command line; return the exit status, and the directory of the run or the sweep."""
    line, ranks = parse(conceal_words(argv)), store.ranks if store else None
    if ranks:
        if line.multirun:
            raise ConfigError("-m: under torchrun or srun the ranks train one run; start the sweep without them.")
        line = replace(line, overrides=[*line.overrides, *ranks.overrides(line.overrides)])
    word, changes = split_resume(line)
    notifications = Notifications() if line.asks else configured()
    if store and store.ranks.rank:  # only rank 0 prints, and looks up the run to resume
        if line.asks:
            return 0, None
        return run_worker(store, make_plan(line).configs if word is None else [], callbacks_of_trial), None
    if word is None and not line.asks and (job := requeued_job()) and (record := of_slurm_job(job, line.overrides)):
        word, changes = str(record.directory), []
    if word is not None and line.multirun:
        return _resume_sweep(find_sweep(word), changes, notifications)
    if word is not None:
        if store:
            store.connect()  # from here on the other ranks wait for the result
        return _resume(find_to_resume(word), changes, store, notifications)
    if line.asks:
        return _answer(line), None
    plan = make_plan(line)
    for config in plan.configs:
        check_name(config["name"])
    if line.multirun:
        return _begin_sweep(line, plan, notifications)
    _announce(plan.summary, runs_dir())
    with _asking_git():
        check_machine(plan.configs, ranks)
    return _single(plan, store, notifications)


def _answer(line: CommandLine) -> int:
    """Handle a flag that prints something and starts no training."""
    if line.asks == "help":
        print(mask(help_text(line)), end="")
        return 0
    if line.asks == "plan":
        from src.sweeps.local import concurrent_jobs

        plan = make_plan(line)
        check_machine(plan.configs)
        print_plan(plan, concurrent_jobs(plan, plan.trials))
        return 0
    if line.asks == "configuration":
        check_package(make_plan(line), line.flags)
    answer = io.StringIO()
    try:
        with redirect_stdout(answer):
            hand_to_hydra(line)
    finally:
        print(mask(answer.getvalue()), end="")
    return 0


def _announce(what: str, directory: Path) -> None:
    """Print the training to be started and its directory, before torch is imported, which takes seconds."""
    print(f"training {what}, in {shown(directory)}", flush=True)


@contextmanager
def _asking_git() -> Iterator[None]:
    """Let git describe the code while the block imports torch; ``git`` caches the result."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(git)
        yield


def _single(plan: Plan, store: RankStore | None, notifications: Notifications) -> tuple[int, Path]:
    if store:
        store.register()
    directory = claim(runs_dir(), "r")
    [composed] = plan.composed
    composed.save(directory)
    callbacks = _notifying(notifications, directory, composed.config)
    run = partial(begin, directory, composed.config, **composed.source, code=git(), callbacks=callbacks, store=store)
    return _train_and_report(directory, run, notifications)


def _resume(
    record: Record, changes: list[str], store: RankStore | None, notifications: Notifications
) -> tuple[int, Path]:
    config, directory, id = changed(record, changes), record.directory, record.values["id"]
    if config is None:
        epochs = record.values["config"]["trainer"]["max_epochs"]
        print(
            f"{id} is finished, all {epochs} epochs: there is nothing to resume; trainer.max_epochs=N trains it longer."
        )
        return 0, directory
    _announce(f"{id} from its last checkpoint", directory)
    check_machine([{**config, "init_from": None}], store.ranks if store else None)  # its checkpoint has the weights
    if store:
        store.register()
    callbacks = [*callbacks_of_trial(directory, config), *_notifying(notifications, directory, config)]
    return _train_and_report(directory, partial(go_on, directory, config, changes, callbacks, store), notifications)


def _notifying(notifications: Notifications, directory: Path, config: dict[str, Any]) -> "list[pl.Callback]":
    """The callback that notifies of events while a run trains, if the user wants any of them."""
    if not (notifications.wants("nan") or notifications.wants("plateau")):
        return []
    from src.training.watching import NotifyOfMetrics

    return [NotifyOfMetrics(notifications, directory, config["monitor"], config["mode"])]


def _train_and_report(directory: Path, run: Callable[[], Record], notifications: Notifications) -> tuple[int, Path]:
    """Train and print how the run ended, if it started at all; return the exit status and the run's directory."""
    status, stop = 1, None
    try:
        run()
    except Interrupted as error:
        stop = error
    if (directory / RECORD).exists():
        record = Record.load(directory)
        print_card(record)
        notifications.send(run_event(record))
        status = int(not record.is_finished)
    if stop and stop.signum == signal.SIGUSR1 and (problem := requeue()):
        say(f"the job could not be put back into SLURM's queue: {problem}")
    return stop.exit_status if stop else status, directory


def _begin_sweep(line: CommandLine, plan: Plan, notifications: Notifications) -> tuple[int, Path | None]:
    if FROZEN in line.own_flags:
        check_can_freeze(git())
    skipped = jobs_to_skip(plan) if SKIP_DONE in line.own_flags else {}
    if plan.jobs and len(skipped) == len(plan.jobs):
        print(f"all {len(skipped)} jobs have run already: there is nothing to train.")
        return 0, None
    _announce(f"{plan.summary}{f', without {len(skipped)} that have run already' * bool(skipped)}", sweeps_dir())
    with _asking_git():
        check_machine(plan.configs)
    check_search(plan)
    sweep = begin_sweep(claim(sweeps_dir(), "s"), line, plan, skipped)
    if is_frozen(sweep):
        return run_frozen(sweep, []), sweep.directory
    return _sweep(sweep, line, plan, notifications)


def _resume_sweep(sweep: Sweep, changes: list[str], notifications: Notifications) -> tuple[int, Path]:
    line = changed_sweep(sweep, changes)
    if sweep.is_finished:
        more = "; hydra.sweeper.minutes=N searches longer" if (sweep.values["search"] or {}).get("minutes") else ""
        print(f"{sweep.values['id']} is finished, all {sweep.values['trials']} jobs: there is nothing to resume{more}.")
        return 0, sweep.directory
    if is_frozen(sweep):
        return run_frozen(sweep, changes), sweep.directory
    for record in sweep.records():
        check_format(record)
    if change := difference(sweep.values["git"], sweep.directory, git()):
        print(
            f"warning: {change}; the jobs that are left run the code as it is now, and record it (--frozen keeps the code of "
            "a sweep).",
            file=sys.stderr,
        )
    plan = make_plan(line)
    jobs = "a search" if sweep.values["trials"] is None else f"{sweep.values['trials']} jobs"
    _announce(f"what is left of {jobs}", sweep.directory)
    check_machine(plan.configs, None)
    check_unchanged(sweep, plan)
    if changes:
        sweep.save()
    return _sweep(sweep, line, plan, notifications)


def _sweep(sweep: Sweep, line: CommandLine, plan: Plan, notifications: Notifications) -> tuple[int, Path]:
    with owned(sweep.directory):
        status = run_jobs(sweep, line, plan)
        print_overview(sweep)
        leave_leaderboard(sweep)
    status = status or int(not sweep.is_finished)
    notifications.send(sweep_event(sweep, status))
    return status, sweep.directory


if __name__ == "__main__":
    exit_with(main())
