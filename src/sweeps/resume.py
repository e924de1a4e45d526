"""Resuming a sweep: the settings that may change, and the check that its command line still composes the same jobs."""

import contextlib
import math
from typing import Any

from src.config.command_line import CommandLine
from src.config.compose import Plan
from src.errors import ConfigError, UserError
from src.masking import is_masked, without_names
from src.records.sweep import STORAGE, Sweep
from src.sweeps.storage import check_storage
from src.sweeps.study import has_space


def changed_sweep(sweep: Sweep, words: list[str]) -> CommandLine:
    """The command line of a resumed sweep; sets a changed number of trials or time limit in its record, which is not saved.

    Raises:
        ConfigError: a setting cannot be changed when resuming, or the password of the search's storage is unknown.
    """
    for word in words:
        key, _, value = word.partition("=")
        if key == "hydra.sweeper.n_trials" and sweep.values["search"]:
            sweep.values["trials"] = sweep.values["search"]["n_trials"] = _positive(word, int)
        elif key == "hydra.sweeper.minutes" and sweep.values["search"]:
            sweep.values["search"]["minutes"] = _positive(word, float)
            sweep.values["trials"] = sweep.values["search"]["n_trials"]
        elif key == STORAGE and sweep.values["search"] and is_masked(before := sweep.values["search"]["storage"]):
            if without_names(value.strip("'\"")) != without_names(before):
                raise ConfigError(
                    f"{word}: a resumed sweep keeps its settings: pass {STORAGE}={before} with its secret."
                )
            sweep.values["search"]["storage"] = value.strip("'\"")
        elif not key.startswith(("hydra/launcher", "hydra.launcher.")):
            raise ConfigError(
                f"{word}: a resumed sweep keeps its settings; only its launcher may differ, and a search's "
                "hydra.sweeper.n_trials and hydra.sweeper.minutes."
            )
    if sweep.values["search"]:
        _ = sweep.storage
    # The record has the settings of these runs, which may have been removed since.
    known = ["hydra.sweeper.start_from=null"] * bool((sweep.values["search"] or {}).get("start_from"))
    overrides = [*sweep.values["overrides"], *words, *known]
    return CommandLine(list(sweep.values["flags"]), overrides, multirun=True, asks=None)


def _positive(word: str, kind: type[int] | type[float]) -> Any:
    """The number that an override sets; the check of the settings tests its upper limit."""
    with contextlib.suppress(ValueError):
        if 0 < (number := kind(word.partition("=")[2])) < math.inf:
            return number
    raise ConfigError(f"{word}: must be {'an integer' if kind is int else 'a number'} above 0.")


def check_unchanged(sweep: Sweep, plan: Plan) -> None:
    """Check that the command line of a sweep still composes its original jobs or search space.

    Raises:
        ConfigError: the storage of its search cannot be used.
        UserError: files in conf/ have changed: the sweep's file, or the options that a glob() matches.
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
    """The overrides of each job without those of the launcher, which may change."""
    return [[word for word in job if not word.startswith(("hydra/", "hydra.", "+hydra."))] for job in jobs]
