"""The jobs of a sweep: each a run in a directory below the sweep's."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from src.config.compose import checked, register_resolvers, source_of
from src.errors import Interrupted, UserError
from src.files import describe, write
from src.launching.share import is_worker
from src.launching.stop import only_note_stop, raise_on_stop, received
from src.masking import mask
from src.records.record import RECORD, Record
from src.records.summary import summary
from src.records.sweep import SWEEP, Sweep
from src.training.run import begin, go_on, say

if TYPE_CHECKING:
    import lightning.pytorch as pl


def callbacks_of_trial(directory: Path, config: dict[str, Any]) -> "list[pl.Callback]":
    """The callback that prunes, for a run that is a trial of a search with a pruner; none for other runs."""
    if not (directory.parent / SWEEP).exists() or config["monitor"] is None:
        return []
    search = Sweep.load(directory.parent).values["search"]
    if not search or search["pruner"] == "none":
        return []
    from src.sweeps.trial_pruning import Pruning

    return [Pruning(directory, config["monitor"], config["trainer"]["max_epochs"])]


# A worker imports this module to find the job, and composes its configuration.
register_resolvers()


def job(cfg: DictConfig) -> float | None:
    """Train one point of a sweep and keep its record. Hydra calls this, in the sweep's process or in a worker.

    Returns:
        The monitored metric's best value, for sweepers; None where there is none, or where the run failed.
    """
    hydra = HydraConfig.get()
    directory = Path(hydra.runtime.output_dir)
    try:
        config = checked(cfg)
        _mask_what_hydra_wrote(directory)
        record = _carry_out(directory, config, **source_of(hydra, config))
    except OSError as error:
        say(f"{directory} cannot be written: {describe(error)}")
        return None
    return record.values["best"]["value"] if record and record.values["status"] == "done" else None


def _mask_what_hydra_wrote(directory: Path) -> None:
    """Take secrets that stand in a file of conf/ out of Hydra's copies; those of the command line are not in them."""
    for path in [*directory.glob(".hydra/*.yaml"), *directory.parent.glob("multirun.yaml")]:
        if (text := path.read_text()) != (without := mask(text)):
            write(path, without)


def _carry_out(
    directory: Path, config: dict[str, Any], overrides: list[str], choices: dict[str, str | None]
) -> Record | None:
    """Carry out one job of a sweep, from where it stands: done, cut off, failed, or not begun.

    Returns:
        Its record; None where this worker was told to stop, which its sweep knows too.

    Raises:
        Interrupted: this process, which leads the sweep itself, was told to stop.
    """
    raise_on_stop()
    if is_worker() and received():
        return None
    sweep = Sweep.load(directory.parent)
    try:
        if not (directory / RECORD).exists():
            callbacks = callbacks_of_trial(directory, config)
            record = begin(directory, config, overrides, choices, sweep.code, sweep.values["id"], callbacks)
        elif not (record := Record.load(directory)).is_finished:
            config = record.values["config"]
            record = go_on(directory, config, [], callbacks_of_trial(directory, config))
    except UserError as error:
        say(f"{directory}: {error}")
        return None
    except Interrupted:
        if is_worker():  # the others must come to their end, too
            return None
        raise
    finally:
        if is_worker():
            only_note_stop()  # between two jobs there is nothing to save, and no one to catch an exception
    if is_worker():
        run = summary(record)
        result = "".join(f", {name} {value}" for name, value in run.best_line.items())
        print(f"{run.id}: {run.ended}{result} ({' '.join(overrides)})", flush=True)
    return record
