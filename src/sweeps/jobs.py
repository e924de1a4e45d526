"""The jobs of a sweep: each a run in a directory below the sweep's."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.errors import Interrupted, UserError
from src.launching.share import is_worker
from src.launching.stop import only_note_stop, raise_on_stop, received
from src.records.record import RECORD, Record
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


def carry_out_job(
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
        elif (record := Record.load(directory)).values["status"] != "done":
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
        run = record.values
        result = f", {run['best']['metric']} {run['best']['value']:.4f}" if run["best"]["value"] is not None else ""
        status = "pruned" if run.get("pruned_in_epoch") else run["status"]
        print(f"{run['id']}: {status}{result} ({' '.join(overrides)})", flush=True)
    return record
