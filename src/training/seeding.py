"""Seeding of every optimizer step in Lightning's own loop."""

import lightning.pytorch as pl

from src.randomness import MODEL, seed_step, step_seeds


class SeedSteps(pl.Callback):
    """Seeds torch's generators before every training step from (seed, epoch, step, rank).

    So a resumed run draws the dropout of an uninterrupted one, and no generator state is saved.

    Args:
        seed: of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Seed the step."""
        steps = int(trainer.num_training_batches)
        seeds = step_seeds(MODEL, self.seed, trainer.current_epoch, trainer.global_rank, steps)
        seed_step(seeds[batch_idx], pl_module.device)
