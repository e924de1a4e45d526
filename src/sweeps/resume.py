"""Resuming a sweep: what its command line may change, and whether it still stands for the same jobs."""

from src.config.command_line import CommandLine
from src.config.compose import Plan
from src.errors import ConfigError, UserError
from src.masking import is_masked, without_names
from src.records.sweep import STORAGE, Sweep
from src.sweeps.storage import check_storage
from src.sweeps.study import has_space


def changed_sweep(sweep: Sweep, words: list[str]) -> CommandLine:
    """The command line with which a sweep goes on; other trials than before are noted in its record.

    Raises:
        ConfigError: a word that may not differ, or the password of the search's storage is not known.
    """
    for word in words:
        key, _, value = word.partition("=")
        if key == "hydra.sweeper.n_trials" and sweep.values["search"] and value.isdigit():
            sweep.values["trials"] = int(value)
        elif key == STORAGE and sweep.values["search"] and is_masked(before := sweep.values["search"]["storage"]):
            if without_names(value.strip("'\"")) != without_names(before):
                raise ConfigError(f"{word}: a sweep goes on as it began, with {STORAGE}={before} and its secret.")
            sweep.values["search"]["storage"] = value.strip("'\"")
        elif not key.startswith(("hydra/launcher", "hydra.launcher.")):
            raise ConfigError(
                f"{word}: a sweep goes on as it began; only its launcher may differ, and hydra.sweeper.n_trials of a search."
            )
    if sweep.values["search"]:
        _ = sweep.storage
    if words:
        sweep.save()
    return CommandLine(list(sweep.values["flags"]), [*sweep.values["overrides"], *words], multirun=True, asks=None)


def check_unchanged(sweep: Sweep, plan: Plan) -> None:
    """See that the command line of a sweep still stands for the jobs, or the search space, that it began with.

    Raises:
        ConfigError: the storage of its search cannot be used.
        UserError: files in conf/ have changed: a sweep's own file, or the choices that a glob() matches.
    """
    if plan.search and plan.search["storage"]:
        check_storage(sweep.storage)
    if plan.jobs is None:
        unchanged = has_space(sweep, plan.space)
    else:
        unchanged = _without_hydra(plan.jobs) == _without_hydra(sweep.values["jobs"])
    if not unchanged:
        raise UserError(
            f"{sweep.values['id']}: files in conf/ have changed since it began, and its command line stands for other jobs "
            "now: restore them, or start a new sweep."
        )


def _without_hydra(jobs: list[list[str]]) -> list[list[str]]:
    """The overrides of each job but those of the launcher, which may differ."""
    return [[word for word in job if not word.startswith(("hydra/", "hydra.", "+hydra."))] for job in jobs]
