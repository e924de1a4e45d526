"""The jobs of a sweep: each a run in a directory below the sweep's."""

import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from src.config.compose import Composed, checked, compose_job, register_resolvers, source_of
from src.errors import Interrupted, UserError
from src.files import describe, write
from src.launching.share import is_worker
from src.launching.stop import only_note_stop, raise_on_stop, received
from src.masking import mask
from src.records.git import git
from src.records.record import RECORD, Record
from src.records.summary import summary
from src.records.sweep import SWEEP, Sweep
from src.training.run import begin, go_on, say

if TYPE_CHECKING:
    import lightning.pytorch as pl


def callbacks_of_trial(directory: Path, config: dict[str, Any]) -> "list[pl.Callback]":
    """The callbacks that end a trial of a search early, if it has a pruner or a time limit; else an empty list."""
    if not (directory.parent / SWEEP).exists():
        return []
    search = Sweep.load(directory.parent).values["search"]
    if not search:
        return []
    callbacks: list[pl.Callback] = []
    if search["pruner"] != "none" and config["monitor"] is not None:
        from src.sweeps.trial_pruning import Pruning

        callbacks.append(Pruning(directory, config["monitor"], config["trainer"]["max_epochs"]))
    if search.get("minutes"):
        from src.sweeps.trial_pruning import Deadline

        callbacks.append(Deadline(directory))
    return callbacks


def train_job(directory: Path, job: Composed | Sequence[str]) -> None:
    """Train one job in this process, and exit.

    Args:
        directory: the job's directory, within that of its sweep.
        job: its configuration, or the overrides it is composed with.

    Raises:
        SystemExit: always; the status is that of a single run.
    """
    raise_on_stop()
    status = 1
    try:
        composed = job if isinstance(job, Composed) else compose_job(list(job))
        directory.mkdir(exist_ok=True)
        if not (directory / RECORD).exists():
            composed.save(directory)
        status = int(_carry_out(directory, composed.config, composed.source).values["status"] != "done")
    except Interrupted as stop:
        status = stop.exit_status
    except (UserError, OSError) as error:
        _explain(directory, error)
    except Exception:  # an error of this project, which no caller could handle
        traceback.print_exc()
    raise SystemExit(status)


# Workers of Hydra's launchers import this module to find ``job``, and compose its configuration.
register_resolvers()


def job(cfg: DictConfig) -> float | None:
    """Train one point of a sweep, whose launcher is one of Hydra's, in the sweep's process or in a worker.

    Returns:
        The best value of the monitored metric, for sweepers; None if there is none, the run failed, or a signal stopped this
        worker, which the sweep detects itself.

    Raises:
        Interrupted: a signal stopped this process, and it is the sweep's main process.
    """
    hydra = HydraConfig.get()
    directory = Path(hydra.runtime.output_dir)
    raise_on_stop()
    if is_worker() and received():
        return None
    try:
        config = checked(cfg)
        _mask_what_hydra_wrote(directory)
        record = _carry_out(directory, config, source_of(hydra, config), starts_others=True)
    except (UserError, OSError) as error:
        _explain(directory, error)
        return None
    except Interrupted:
        if is_worker():  # the other workers must end, too
            return None
        raise
    finally:
        if is_worker():
            only_note_stop()  # between jobs there is nothing to save, and no handler of an exception
    run = summary(record)
    if is_worker():
        print(f"{run.id}: {run.outcome} ({' '.join(record.values['overrides'])})", flush=True)
    return run.best if run.status == "done" else None


def _explain(directory: Path, error: UserError | OSError) -> None:
    say(f"{directory}: {describe(error) if isinstance(error, OSError) else error}")


def _mask_what_hydra_wrote(directory: Path) -> None:
    """Mask secrets from files in conf/ in Hydra's copies; secrets of the command line are not in them."""
    for path in [*directory.glob(".hydra/*.yaml"), *directory.parent.glob("multirun.yaml")]:
        if (text := path.read_text()) != (without := mask(text)):
            write(path, without)


def _carry_out(
    directory: Path, config: dict[str, Any], source: Mapping[str, Any], starts_others: bool = False
) -> Record:
    """Start, resume or repeat one job of a sweep, depending on its status; a finished job is left unchanged.

    Returns:
        The record of the job.

    Raises:
        Interrupted: a signal stopped this process.
        UserError: the job cannot be started or resumed.
    """
    if not (directory / RECORD).exists():
        callbacks = callbacks_of_trial(directory, config)
        id = Sweep.load(directory.parent).values["id"]
        # The code as it was when this process asked first: the processes of a sweep import it then.
        return begin(
            directory, config, **source, code=git(), sweep=id, callbacks=callbacks, starts_others=starts_others
        )
    record = Record.load(directory)
    if record.is_finished:
        return record
    config = record.values["config"]
    return go_on(directory, config, [], callbacks_of_trial(directory, config), starts_others=starts_others)
