"""The search of a sweep: Optuna proposes trials, jobs answer. The study is kept in the sweep's directory, or elsewhere."""

import itertools
import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.launching.stop import received
from src.sweeps.space import Dimension
from src.sweeps.sweep import STUDY, Sweep
from src.tracking.record import RECORD, Record

if TYPE_CHECKING:
    import optuna

# Launches jobs: the overrides of each, and the number of the first.
Launch = Callable[[Sequence[Sequence[str]], int], Any]
_JOB = "job"


def quiet_optuna() -> None:
    """Keep Optuna from telling each trial on the terminal, and that parts of it are experimental."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


def open_study(sweep: Sweep, max_epochs: int = 1) -> "optuna.Study":
    """The study of a sweep, made if it is not there yet."""
    import optuna

    quiet_optuna()
    search = sweep.values["search"]
    return optuna.create_study(
        study_name=sweep.values["id"],
        storage=search["storage"] or f"sqlite:///{sweep.directory / STUDY}",
        sampler=_sampler(search),
        pruner=_pruner(search, max_epochs),
        direction="minimize" if sweep.values["mode"] == "min" else "maximize",
        load_if_exists=True,
    )


def _sampler(search: dict[str, Any]) -> "optuna.samplers.BaseSampler":
    from optuna import samplers

    seed, startup = search["seed"], search["startup_trials"]
    match search["sampler"]:
        case "random" | "grid":  # a grid's points are queued before anything is drawn
            return samplers.RandomSampler(seed=seed)
        case "cmaes":
            return samplers.CmaEsSampler(seed=seed, n_startup_trials=startup, warn_independent_sampling=False)
    # With constant_liar trials that run beside each other do not all try the same.
    return samplers.TPESampler(seed=seed, n_startup_trials=startup, multivariate=True, group=True, constant_liar=True)


def _pruner(search: dict[str, Any], max_epochs: int) -> "optuna.pruners.BasePruner":
    from optuna import pruners

    match search["pruner"]:
        case "median":
            return pruners.MedianPruner(n_startup_trials=search["startup_trials"], n_warmup_steps=1)
        case "hyperband":
            return pruners.HyperbandPruner(min_resource=1, max_resource=max(2, max_epochs))
    return pruners.NopPruner()


def search(
    sweep: Sweep, space: Sequence[Dimension], fixed: Sequence[str], launch: Launch, at_once: int, max_epochs: int
) -> None:
    """Run trials until the sweep has as many as it is to have; failed ones count, and the search goes past them.

    A search that was cut off goes on: the jobs that were running, and those that had failed, are taken up again first.

    Args:
        sweep: its record, with the settings of the search.
        space: what is searched.
        fixed: overrides that all jobs share.
        launch: runs jobs and returns when they have ended.
        at_once: how many jobs run beside each other.
        max_epochs: of each job, for Hyperband.
    """
    from optuna.trial import TrialState, create_trial

    study = open_study(sweep, max_epochs)
    distributions = {dimension.key: dimension.distribution() for dimension in space}
    if sweep.values["search"]["sampler"] == "grid" and not study.trials:
        points = list(itertools.product(*(dimension.values for dimension in space)))
        for point in points[: sweep.values["trials"]]:
            study.enqueue_trial(dict(zip(distributions, point, strict=True)))
        sweep.values["trials"] = min(sweep.values["trials"], len(points))
        sweep.save()

    def run(number: int, *trials: Any) -> list[tuple[Any, float | None]]:
        """Run trials as the jobs from ``number`` on; returns state and value of each."""
        launch([[*fixed, *(d.word(trial.params[d.key]) for d in space)] for trial in trials], number)
        return [_result(sweep.directory / f"{number + n:03d}") for n in range(len(trials))]

    for trial in study.get_trials(states=(TrialState.RUNNING, TrialState.FAIL)):
        number = trial.user_attrs.get(_JOB)
        if number is None:  # cut off between being asked for and getting a job
            study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        elif trial.state == TrialState.RUNNING:
            _tell(study, trial.number, *run(number, trial)[0])
        elif number not in _jobs(study, TrialState.COMPLETE, TrialState.PRUNED):
            state, value = run(number, trial)[0]
            if state == TrialState.COMPLETE:  # Optuna takes no failure back, so the trial enters anew
                again = create_trial(
                    params=trial.params, distributions=distributions, value=value, user_attrs={_JOB: number}
                )
                study.add_trial(again)

    while not received() and (first := len(_jobs(study))) < sweep.values["trials"]:
        asked = []
        for number in range(first, min(first + at_once, sweep.values["trials"])):
            asked.append(study.ask(distributions))
            asked[-1].set_user_attr(_JOB, number)
        for one, result in zip(asked, run(first, *asked), strict=True):
            _tell(study, one.number, *result)


def _jobs(study: "optuna.Study", *states: Any) -> set[int]:
    """Numbers of the jobs that trials have got, in some states or in any."""
    trials = study.get_trials(deepcopy=False, states=states or None)
    return {trial.user_attrs[_JOB] for trial in trials if _JOB in trial.user_attrs}


def _tell(study: "optuna.Study", number: int, state: Any, value: float | None) -> None:
    if not state.is_finished():  # interrupted: to be taken up again
        return
    study.tell(number, value, state=state, skip_if_finished=True)


def _result(directory: Path) -> tuple[Any, float | None]:
    """A job's state in Optuna's words, and its value if it has one, from its record."""
    from optuna.trial import TrialState

    if not (directory / RECORD).exists():
        return TrialState.RUNNING, None
    run = Record.load(directory).values
    value = run["best"]["value"]
    if run["status"] == "done" and run.get("pruned_in_epoch"):
        return TrialState.PRUNED, None
    if run["status"] == "done" and value is not None and math.isfinite(value):
        return TrialState.COMPLETE, value
    return (TrialState.RUNNING if run["status"] in ("running", "interrupted") else TrialState.FAIL), None


def trial_of(study: "optuna.Study", job: int) -> "optuna.Trial | None":
    """The trial that a job answers."""
    import optuna

    running = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))
    ids = [trial._trial_id for trial in running if trial.user_attrs.get(_JOB) == job]
    return optuna.Trial(study, ids[0]) if ids else None
