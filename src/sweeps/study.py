"""Search with Optuna: ask-and-tell between the study, in the sweep's directory or a storage, and the jobs."""

import itertools
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.config.space import Dimension, start_points
from src.launching.stop import received
from src.records.record import RECORD, Record
from src.records.summary import summary
from src.records.sweep import JOB, STUDY, Sweep
from src.training.run import say

if TYPE_CHECKING:
    import optuna
    from optuna.trial import TrialState

# Function that launches jobs, given the overrides of each and the number of the first.
Launch = Callable[[Sequence[Sequence[str]], int], Any]


def quiet_optuna() -> None:
    """Disable Optuna's log line for each trial and its warnings about experimental features."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


def open_study(sweep: Sweep, max_epochs: int = 1) -> "optuna.Study":
    """The study of a sweep, created if it does not exist."""
    import optuna

    quiet_optuna()
    search = sweep.values["search"]
    return optuna.create_study(
        study_name=sweep.values["id"],
        storage=sweep.storage,
        sampler=sampler_of(search, 0),
        pruner=_pruner(search, max_epochs),
        directions=["minimize" if mode == "min" else "maximize" for mode in _modes(sweep)],
        load_if_exists=True,
    )


def _modes(sweep: Sweep) -> list[str]:
    return list(sweep.objectives.values()) or [sweep.values["mode"]]


def sampler_of(search: dict[str, Any], job: int) -> "optuna.samplers.BaseSampler":
    """The sampler for one job of a search with these settings.

    Its random numbers depend only on the search's seed and the job's number, so that the first session of the search and a
    resumed one propose the same job, and no two jobs share random numbers.
    """
    import numpy as np
    from optuna import samplers

    seed = None if search["seed"] is None else int(np.random.SeedSequence([search["seed"], job]).generate_state(1)[0])
    startup = search["startup_trials"]
    match search["sampler"]:
        case "random" | "grid":  # the points of a grid are fixed, nothing is sampled
            return samplers.RandomSampler(seed=seed)
        case "cmaes":
            return samplers.CmaEsSampler(seed=seed, n_startup_trials=startup, warn_independent_sampling=False)
        case "nsga2":  # the trials of the first generation are random
            return samplers.NSGAIISampler(seed=seed, population_size=max(2, startup))
        case "nsga3":
            return samplers.NSGAIIISampler(seed=seed, population_size=max(2, startup))
    # constant_liar keeps parallel trials from sampling the same region.
    return samplers.TPESampler(seed=seed, n_startup_trials=startup, multivariate=True, group=True, constant_liar=True)


def _pruner(search: dict[str, Any], max_epochs: int) -> "optuna.pruners.BasePruner":
    from optuna import pruners

    match search["pruner"]:
        case "median":
            return pruners.MedianPruner(n_startup_trials=search["startup_trials"], n_warmup_steps=1)
        case "hyperband":
            from src.sweeps.hyperband import Hyperband

            return Hyperband(min_resource=1, max_resource=max(2, max_epochs))
        case "halving":
            # Of 10, 30 and 100 epochs, after the 3rd, 5th and 9th; 5th, 9th and 17th; 14th, 27th and 53rd, since Optuna counts
            # from 0: schedules of different length are compared at similar shares of their epochs.
            return pruners.SuccessiveHalvingPruner(min_resource=math.ceil(max(1, max_epochs) / 8), reduction_factor=2)
    return pruners.NopPruner()


class Search:
    """Proposes the jobs of a sweep and reports their results to the study. Failed jobs count as trials.

    An interrupted search resumes with the jobs that were running or had failed. With one job at a time and a seed, its trials
    equal those of an uninterrupted search; with parallel jobs, or a time limit, they depend on when jobs end.

    Args:
        sweep: record of the sweep, with the settings of the search.
        space: the search space.
        fixed: overrides that all jobs share.
        max_epochs: number of epochs of each job, for Hyperband.
    """

    def __init__(self, sweep: Sweep, space: Sequence[Dimension], fixed: Sequence[str], max_epochs: int) -> None:
        self.sweep, self.space, self.fixed = sweep, space, fixed
        self._study = open_study(sweep, max_epochs)
        self._distributions = {dimension.key: dimension.distribution() for dimension in space}
        is_grid = sweep.values["search"]["sampler"] == "grid"
        self._points = self._grid() if is_grid else start_points(sweep.values["search"], space, fixed)
        self._trials: dict[int, int] = {}  # number of the job to number of its trial
        self._proposals = self._propose()
        sweep.set_deadline(sweep.values["search"].get("minutes"))
        self._is_stopped = False

    def _grid(self) -> list[dict[str, Any]]:
        values = itertools.product(*(dimension.values for dimension in self.space))
        points = [dict(zip(self._distributions, point, strict=True)) for point in values]
        if self.sweep.values["trials"] is None or self.sweep.values["trials"] > len(points):
            self.sweep.values["trials"] = len(points)
            self.sweep.save()
        return points

    def next_job(self) -> tuple[int, list[str]] | None:
        """Number and overrides of the job to be run next; None once all have been proposed."""
        if self._is_stopped or (proposal := next(self._proposals, None)) is None:
            return None
        job, trial = proposal
        self._trials[job] = trial.number
        return job, [*self.fixed, *(d.word(trial.params[d.key]) for d in self.space)]

    def tell(self, job: int, failed: bool = False) -> None:
        """Tell the study the result of a job, from its record. A job that did not log an objective ends the search.

        Args:
            job: the number of the job.
            failed: whether the job failed before it had a record.
        """
        from optuna.trial import TrialState

        state, values = self._result(self.sweep.directory / f"{job:03d}")
        if failed and state == TrialState.RUNNING:
            state = TrialState.FAIL
        if state.is_finished():  # else it was interrupted, and is resumed with the search
            self._study.tell(self._trials[job], values, state=state)

    def _result(self, directory: Path) -> "tuple[TrialState, list[float] | None]":
        """The state of a job, and the value of each objective if it is complete, from its record."""
        from optuna.trial import TrialState

        if not (directory / RECORD).exists():
            return TrialState.RUNNING, None
        run = summary(Record.load(directory))
        if run.status == "pruned":
            return TrialState.PRUNED, None
        if run.status != "done":
            return (TrialState.RUNNING if run.status in ("running", "interrupted") else TrialState.FAIL), None
        objectives = self.sweep.objectives
        values = [run.value_of(metric) for metric in objectives] if objectives else [run.best]
        if missing := [name for name in objectives if not {name, f"best/{name}"} & run.metrics.keys()]:
            self._stop(f"{run.id} did not log {', '.join(missing)}, of hydra.sweeper.objectives", run.metrics)
        finite = [value for value in values if value is not None and math.isfinite(value)]
        return (TrialState.COMPLETE, finite) if len(finite) == len(values) else (TrialState.FAIL, None)

    def _stop(self, problem: str, logged: Iterable[str]) -> None:
        """Propose no more jobs, and say why."""
        if not self._is_stopped:
            say(
                f"{problem}, and the search ends: name metrics that it logged ({', '.join(logged) or 'there is none'})."
            )
        self._is_stopped = True

    def _propose(self) -> "Iterator[tuple[int, optuna.Trial | optuna.trial.FrozenTrial]]":
        from optuna.trial import TrialState

        study = self._study
        for _ in study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):  # never asked for
            study.tell(study.ask(), state=TrialState.FAIL)
        for job, trial in _jobs(study).items():
            if trial.state == TrialState.RUNNING and trial.params.keys() == self._distributions.keys():
                yield job, trial
            elif trial.state in (TrialState.RUNNING, TrialState.FAIL):
                study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
                yield job, self._draw(job, trial.params)  # a new trial: Optuna cannot revert a failed one
        while (trials := self.sweep.values["trials"]) is None or len(_jobs(study)) < trials:
            job = len(_jobs(study))
            if self.sweep.seconds_left <= 0:
                self.sweep.values["trials"] = job  # the search is finished, unless it is resumed with more time
                self.sweep.save()
                return
            yield job, self._draw(job, self._points[job] if job < len(self._points) else None)

    def _draw(self, job: int, params: dict[str, Any] | None) -> "optuna.Trial":
        """Ask for the trial of a job, with fixed parameters if ``params`` is not None."""
        self._study.enqueue_trial(params or {}, user_attrs={JOB: job})
        self._study.sampler = sampler_of(self.sweep.values["search"], job)
        return self._study.ask(self._distributions)


def search_in_batches(search: Search, launch: Launch, at_once: int) -> None:
    """Run the jobs of a search with a Hydra launcher, which returns when all jobs of a batch have ended.

    Args:
        search: proposes the jobs.
        launch: launches a batch of jobs.
        at_once: number of jobs run in parallel.
    """
    held: tuple[int, list[str]] | None = None
    while not received() and (job := held or search.next_job()):
        batch, held = [job], None
        while len(batch) < at_once and held is None and (job := search.next_job()):
            if job[0] == batch[-1][0] + 1:  # a launcher numbers the jobs of a batch consecutively
                batch.append(job)
            else:
                held = job
        launch([words for _, words in batch], batch[0][0])
        for number, _ in batch:
            search.tell(number)


def has_space(sweep: Sweep, space: Sequence[Dimension]) -> bool:
    """Whether all trials of a search were sampled from this space."""
    if not sweep.values["search"]["storage"] and not (sweep.directory / STUDY).exists():
        return True
    distributions = {dimension.key: dimension.distribution() for dimension in space}
    drawn = [trial.distributions for trial in open_study(sweep).get_trials(deepcopy=False)]
    return all(distributions.get(key) == value for one in drawn for key, value in one.items())


def _jobs(study: "optuna.Study") -> dict[int, "optuna.trial.FrozenTrial"]:
    """The latest trial of each job, by the number of the job."""
    trials = study.get_trials(deepcopy=False)
    newest = {trial.user_attrs[JOB]: trial for trial in trials if JOB in trial.user_attrs}
    return dict(sorted(newest.items()))


def trial_of(study: "optuna.Study", job: int) -> "optuna.Trial | None":
    """The trial of a job; None if there is none."""
    import optuna

    running = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))
    ids = [trial._trial_id for trial in running if trial.user_attrs.get(JOB) == job]
    return optuna.Trial(study, ids[0]) if ids else None
