"""SIGTERM and Ctrl-C: stop at the next moment at which nothing is lost."""

import signal
from types import FrameType

import lightning.pytorch as pl
import torch

from src.errors import Interrupted
from src.launching.stop import STOP, raise_on_stop


class StopOnSignal(pl.Callback):
    """Lets a training finish its chunk when it is told to stop, saves last.ckpt, then raises ``Interrupted``.

    Lightning's own handler broadcasts from inside the signal handler, which hangs when only one rank was told; here the
    handler only notes the signal, and the ranks agree on it between chunks.

    Args:
        checkpoint: where to save; None saves nothing.
    """

    def __init__(self, checkpoint: str | None) -> None:
        self.checkpoint = checkpoint
        self.received = 0

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self.received = signum

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Keep Lightning from registering its handler; there is no setting for that."""
        trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """From here on there is something to save first."""
        for signum in STOP:
            signal.signal(signum, self._note)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Save and stop all ranks together if any of them was told to."""
        if signum := self._agreed(trainer):
            if self.checkpoint is not None:
                trainer.save_checkpoint(self.checkpoint)
            raise Interrupted(signum)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop for a signal that came after the last step; the last epoch's checkpoint is there already."""
        raise_on_stop()
        if signum := self._agreed(trainer):
            raise Interrupted(signum)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """From here on there is nothing more to save."""
        raise_on_stop()

    def _agreed(self, trainer: pl.Trainer) -> int:
        if trainer.world_size == 1:
            return self.received
        told = torch.tensor(self.received, device=trainer.strategy.root_device)
        torch.distributed.all_reduce(told, torch.distributed.ReduceOp.MAX)
        return int(told)
