"""Hyperband with reproducible brackets."""

from types import SimpleNamespace
from typing import TYPE_CHECKING

from optuna.pruners import HyperbandPruner

from src.records.sweep import JOB

if TYPE_CHECKING:
    import optuna


class Hyperband(HyperbandPruner):
    """Hyperband pruner whose brackets are the same in equal searches.

    Optuna assigns a trial to a bracket by a hash of the study's name and the trial's number. The name is an id, unique for each
    search, and resuming may leave gaps in the numbers. Here the hash is of a constant and the number of the job.
    """

    def _get_bracket_id(self, study: "optuna.Study", trial: "optuna.trial.FrozenTrial") -> int:
        job = SimpleNamespace(number=trial.user_attrs.get(JOB, trial.number))
        return super()._get_bracket_id(SimpleNamespace(study_name="search"), job)  # type: ignore[arg-type]
