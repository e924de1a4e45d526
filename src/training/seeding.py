"""Seeding of each optimizer step in Lightning's own loop."""

import math

import lightning.pytorch as pl

from src.randomness import MODEL, seed_step, step_seeds

# Number of seeds computed at once.
_BLOCK = 1024


class SeedSteps(pl.Callback):
    """Seeds torch's generators before every training step from (seed, epoch, step, rank).

    A resumed run therefore uses the same dropout masks as an uninterrupted one without any saved generator state.

    Args:
        seed: seed of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Seed the step."""
        block, steps = 0, trainer.num_training_batches
        if steps == math.inf:  # of a loader of unknown length
            block, steps = batch_idx // _BLOCK, _BLOCK
        seeds = step_seeds(MODEL, self.seed, trainer.current_epoch, trainer.global_rank, int(steps), block)
        seed_step(seeds[batch_idx - block * _BLOCK], pl_module.device)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Seed validation, which may draw random numbers, with the same seed each time."""
        seed_step(self.seed, pl_module.device)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Seed the test with the same seed each time."""
        seed_step(self.seed, pl_module.device)
