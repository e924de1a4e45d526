"""Callbacks that end a trial early: pruned by the intermediate values of other trials, or at the deadline of the search."""

import warnings
from pathlib import Path

import lightning.pytorch as pl

from src.errors import RunNotFound
from src.records.record import Record
from src.records.sweep import Sweep
from src.sweeps.study import open_study, trial_of


class Pruning(pl.Callback):
    """Reports the monitored metric after every epoch, and stops the training when the study's pruner says so.

    Rank 0 queries the study and broadcasts the decision.

    Args:
        directory: the job's directory, within that of its sweep.
        monitor: name of the monitored metric.
        max_epochs: number of epochs of the training.
    """

    def __init__(self, directory: Path, monitor: str, max_epochs: int) -> None:
        self.directory, self.monitor, self.max_epochs = directory, monitor, max_epochs
        self.pruned_in_epoch: int | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Find the trial."""
        self.trial = None
        if trainer.is_global_zero:
            study = open_study(Sweep.load(self.directory.parent), max_epochs=self.max_epochs)
            self.trial = trial_of(study, int(self.directory.name))
            if self.trial is None:
                raise RunNotFound(f"{self.directory}: the study knows no running trial of this job.")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report the value, ask the pruner, and broadcast its decision."""
        stop = False
        if self.trial is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a resumed job reports an epoch again
                self.trial.report(float(trainer.callback_metrics[self.monitor]), trainer.current_epoch)
            stop = self.trial.should_prune()
        if trainer.strategy.broadcast(stop) and trainer.current_epoch + 1 < self.max_epochs:
            self.pruned_in_epoch = trainer.current_epoch + 1
            trainer.should_stop = True


class Deadline(pl.Callback):
    """Ends the training with the first epoch that ends after the deadline of the search; the trial counts, and is tested.

    Args:
        directory: the job's directory, within that of its sweep.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Read the deadline of this session."""
        self.sweep = Sweep.load(self.directory.parent)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop after the deadline, on all ranks."""
        epochs, max_epochs = trainer.current_epoch + 1, trainer.max_epochs
        if epochs != max_epochs and trainer.strategy.broadcast(self.sweep.seconds_left <= 0):
            trainer.should_stop = True
            if trainer.is_global_zero:
                Record.load(self.directory).warn(
                    f"the time of the search was up after epoch {epochs} of {max_epochs}; by itself this run would train longer"
                )
