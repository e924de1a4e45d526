"""Optuna's Hyperband with brackets that are the same in every search."""

from types import SimpleNamespace
from typing import TYPE_CHECKING

from optuna.pruners import HyperbandPruner

from src.records.sweep import JOB

if TYPE_CHECKING:
    import optuna


class Hyperband(HyperbandPruner):
    """Prunes in brackets, each with its own rungs at which the weaker trials of the bracket end.

    Optuna draws a trial's bracket by a hash of the study's name and the trial's number. The name is an id, new for each
    search, and a resume may leave gaps in the numbers; so that equal searches prune alike, the hash is taken here of a
    constant and the number of the job.
    """

    def _get_bracket_id(self, study: "optuna.Study", trial: "optuna.trial.FrozenTrial") -> int:
        job = SimpleNamespace(number=trial.user_attrs.get(JOB, trial.number))
        return super()._get_bracket_id(SimpleNamespace(study_name="search"), job)  # type: ignore[arg-type]
