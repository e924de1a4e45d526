"""The jobs that a sweep would run: ``python -m src.train -m ... --plan``."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from src.config.compose import Plan
from src.config.hydra import PROCESSES
from src.errors import ConfigError
from src.formatting import duration
from src.records.find import all_runs
from src.records.record import Record
from src.records.settings import as_word, differing_names, flat_settings
from src.views.table import Column, forms_of, print_table

# Number of most similar runs from which the duration of a job is estimated.
_NEIGHBOURS = 5


@dataclass(frozen=True)
class PlannedJob:
    """One job of a grid.

    Attributes:
        settings: by their dotted names.
        same_as: the number of an earlier job with the same settings.
        run: a finished run that had the same settings.
        seconds: expected duration, estimated from the most similar runs; None if there are none.
    """

    settings: dict[str, Any]
    same_as: int | None
    run: Record | None
    seconds: float | None


def planned_jobs(configs: Sequence[Mapping[str, Any]], runs: Sequence[Record]) -> list[PlannedJob]:
    """Look up duplicates, earlier runs and expected durations of the jobs of a grid.

    Args:
        configs: the checked configuration of each job.
        runs: earlier runs.
    """
    done = [run for run in runs if run.status == "done" and not run.is_imported]
    before = [(flat_settings(run.values["config"]), run) for run in done]
    known = {_key(settings): run for settings, run in before}
    first: dict[str, int] = {}
    jobs = []
    for number, config in enumerate(configs):
        settings = flat_settings(config)
        key = _key(settings)
        earlier = first.setdefault(key, number)
        jobs.append(
            PlannedJob(settings, earlier if earlier != number else None, known.get(key), _seconds(settings, before))
        )
    return jobs


def jobs_to_skip(plan: Plan) -> dict[int, str]:
    """The jobs of a grid with the settings of a finished run, and the id of that run.

    Raises:
        ConfigError: the sweep is a search, or its launcher cannot skip jobs.
    """
    if plan.search:
        raise ConfigError("--skip-done: a search proposes its jobs as it goes; leave it out.")
    if plan.hydra["launcher"]["_target_"] != PROCESSES:
        raise ConfigError("--skip-done goes with hydra/launcher=processes, the default: leave one of them out.")
    jobs = planned_jobs(plan.configs, all_runs())
    return {number: str(job.run.values["id"]) for number, job in enumerate(jobs) if job.run}


def print_plan(plan: Plan, at_once: int, console: Console | None = None) -> None:
    """Print every job with the settings that vary, which have run already, and the expected duration of the sweep.

    Args:
        plan: the plan of a sweep.
        at_once: number of jobs run in parallel.
        console: the console to print to.
    """
    console = console or Console(highlight=False)
    jobs = planned_jobs(plan.configs, all_runs())
    if plan.search:
        space = ", ".join(dimension.key for dimension in plan.space)
        trials = f"{plan.trials} trials" if plan.trials else "as many trials as fit into its time"
        console.print(f"a search of {trials} over {space}", markup=False, soft_wrap=True)
        if plan.trials:
            _print_time([job.seconds for job in jobs], plan.trials, at_once, console)
        if plan.search["minutes"]:
            console.print(
                f"It ends after {plan.search['minutes']:g} min, when the running trials have ended their epoch."
            )
        return
    settings = [job.settings for job in jobs]
    varied = {name: [as_word(one.get(name)) for one in settings] for name in differing_names(settings)}
    notes = [
        f"the same as {job.same_as:03d}"
        if job.same_as is not None
        else f"has run as {job.run.values['id']}"
        if job.run
        else ""
        for job in jobs
    ]
    columns = [Column("job", [f"{number:03d}" for number in range(len(jobs))]), Column("note", notes, 20)]
    print_table(console, forms_of(columns, varied), f"{len(jobs)} jobs", aligned=True)
    duplicates, ran = sum(job.same_as is not None for job in jobs), sum(job.run is not None for job in jobs)
    if duplicates:
        console.print(f"With the settings of another: {duplicates}.")
    if ran:
        console.print(f"Run already: {ran}; --skip-done leaves them out.")
    _print_time([job.seconds for job in jobs], len(jobs), at_once, console)


def _print_time(seconds: Sequence[float | None], jobs: int, at_once: int, console: Console) -> None:
    known = [one for one in seconds if one is not None]
    if not known:
        console.print("No finished run of this machine tells how long they take.")
        return
    total = statistics.fmean(known) * jobs / at_once
    console.print(f"They take about {duration(total)}, {at_once} at once, by what earlier runs took.")


def _key(settings: Mapping[str, Any]) -> str:
    return json.dumps(settings, sort_keys=True)


def _seconds(settings: Mapping[str, Any], runs: Sequence[tuple[Mapping[str, Any], Record]]) -> float | None:
    """Median duration of the runs most similar to these settings, with at least the same data and network."""

    def differences(other: Mapping[str, Any]) -> int:
        return sum(other.get(name) != settings.get(name) for name in {*settings, *other})

    alike = [
        (differences(other), number)
        for number, (other, _) in enumerate(runs)
        if all(other.get(name) == settings.get(name) for name in ("data", "model", "task"))
    ]
    nearest = [runs[number] for _, number in sorted(alike)[:_NEIGHBOURS]]
    if not nearest:
        return None
    epochs = settings["trainer.max_epochs"]
    return statistics.median(
        run.values["duration_s"] * epochs / (other.get("trainer.max_epochs") or epochs) for other, run in nearest
    )
