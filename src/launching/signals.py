"""SIGTERM and Ctrl-C: stop at the next moment at which nothing is lost."""

import os
import signal
import threading
from types import FrameType

import lightning.pytorch as pl
import torch

from src.errors import Interrupted

STOP = (signal.SIGTERM, signal.SIGINT)
# A rank that waits for a dead one never reaches the end of its chunk.
_PATIENCE_S = 20.0


def raise_on_stop() -> None:
    """From now on SIGTERM and SIGINT raise ``Interrupted`` at once: right wherever nothing has to be saved."""

    def handler(signum: int, frame: FrameType | None) -> None:
        raise Interrupted(signum)

    for signum in STOP:
        signal.signal(signum, handler)


class StopOnSignal(pl.Callback):
    """Lets a training finish its chunk when it is told to stop, saves last.ckpt, then raises ``Interrupted``.

    Lightning's own handler broadcasts from inside the signal handler, which can hang under DDP; here the handler only
    notes the signal, and the ranks agree on it between chunks.

    Args:
        checkpoint: where to save; None saves nothing.
    """

    def __init__(self, checkpoint: str | None) -> None:
        self.checkpoint = checkpoint
        self.received = 0

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if not self.received:
            deadline = threading.Timer(_PATIENCE_S, os._exit, (128 + signum,))
            deadline.daemon = True
            deadline.start()
        self.received = signum

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the signals over; Lightning gives them back when the training ends."""
        for signum in STOP:
            signal.signal(signum, self._note)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Stop all ranks together if any of them was told to."""
        signum = self.received
        if trainer.world_size > 1:
            told = torch.tensor(signum, device=trainer.strategy.root_device)
            torch.distributed.all_reduce(told, torch.distributed.ReduceOp.MAX)
            signum = int(told)
        if signum:
            if self.checkpoint is not None:
                trainer.save_checkpoint(self.checkpoint)
            raise Interrupted(signum)
