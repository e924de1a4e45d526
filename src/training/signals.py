"""Graceful shutdown on SIGTERM, SIGINT (Ctrl-C), SIGHUP and SIGUSR1."""

import signal
from types import FrameType
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.trainer.call import _call_lightning_module_hook

from src.errors import Interrupted
from src.launching.stop import signals
from src.training.epochs import log_epoch


class StopOnSignal(pl.callbacks.Checkpoint):
    """Upon a signal, finishes the current chunk, saves last.ckpt and raises ``Interrupted``.

    Lightning's own handler broadcasts from inside the signal handler, which hangs if only one rank received the signal; here
    the handler only stores the signal, and the ranks agree on it between chunks. The class is a ``Checkpoint`` so that
    Lightning calls it after all other callbacks, once the epoch's curves are written.

    Args:
        checkpoint: path of the checkpoint; None saves nothing.
    """

    def __init__(self, checkpoint: str | None) -> None:
        self.checkpoint = checkpoint
        self.received = 0
        self._usual: dict[signal.Signals, Any] = {}

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self.received = signum

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Prevent Lightning from registering its handler, for which it has no setting."""
        trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Defer signals from here on, since there is a state to save."""
        self._usual = {signum: signal.signal(signum, self._note) for signum in signals()}

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Stop between two chunks, unless a validation is due or gradients are being accumulated.

        Checkpoints lack accumulated gradients, and after the last chunk of an epoch Lightning cannot resume from here.
        """
        fit_loop = trainer.fit_loop
        loop, fetcher = fit_loop.epoch_loop, fit_loop._data_fetcher
        assert fetcher is not None
        if trainer.is_last_batch or loop._should_accumulate() or loop._should_check_val_fx(fetcher):  # type: ignore[attr-defined]
            return
        if signum := self._agreed(trainer):
            # Lightning calls the module's own hook after those of all callbacks.
            _call_lightning_module_hook(trainer, "on_train_batch_end", outputs, batch, batch_idx)
            self._save_and_raise(trainer, signum)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop between two epochs, or between the training and the test."""
        if signum := self._agreed(trainer):
            log_epoch(trainer)
            self._save_and_raise(trainer, signum)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop deferring signals, since there is nothing more to save."""
        self._leave()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Stop deferring signals, since there is nothing more to save."""
        self._leave()

    def _leave(self) -> None:
        for signum, handler in self._usual.items():
            signal.signal(signum, handler)

    def _save_and_raise(self, trainer: pl.Trainer, signum: int) -> None:
        if self.checkpoint is not None:
            trainer.save_checkpoint(self.checkpoint)
        raise Interrupted(signum)

    def _agreed(self, trainer: pl.Trainer) -> int:
        if trainer.world_size == 1:
            return self.received
        received = torch.tensor(self.received, device=trainer.strategy.root_device)
        torch.distributed.all_reduce(received, torch.distributed.ReduceOp.MAX)
        return int(received)
