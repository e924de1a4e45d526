"""Adversarial training."""

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from src.bounds import Bounds, Count, OpenFraction
from src.data.chunks import Chunk, as_chunk
from src.data.module import TensorData
from src.errors import ConfigError
from src.randomness import ATTACK, step_seeds
from src.tasks.attacks import fgsm, pgd
from src.tasks.classification import Classifier, classifies_tensors
from src.tasks.pipeline import Pipeline
from src.tasks.private import PrivateClassifier


class AdversarialTraining(pl.Callback):
    """Replaces a fraction of each training batch by adversarial examples against the current weights.

    A chunk contains many batches, so they cannot be attacked when it is loaded: the callback registers a forward pre-hook on
    the network, which is called once per step. With a hook the network is trained by autograd. The attack uses the network in
    evaluation mode (no dropout, batch statistics unchanged) and the true labels. Validation and test use clean samples.

    The attacked samples and the starting points of PGD are drawn for the whole batch, so that they do not depend on the
    number of processes.
    """

    accepts_chunks: ClassVar[bool] = True

    def __init__(
        self,
        *,
        attack: Annotated[Literal["fgsm", "pgd"], "attack, see src/tasks/attacks.py"] = "pgd",
        epsilon: Annotated[OpenFraction, "maximum change of a grey value, as a fraction of their range"] = 0.1,
        steps: Annotated[Count, "steps of pgd"] = 5,
        step_size: Annotated[
            OpenFraction, "change of a grey value in one step of pgd, as a fraction of their range"
        ] = 0.05,
        share: Annotated[float, Bounds(gt=0, le=1), "fraction of each batch that is attacked"] = 0.5,
    ) -> None:
        self.attack, self.epsilon, self.steps, self.step_size, self.share = attack, epsilon, steps, step_size, share

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Register the hook.

        Raises:
            ConfigError: the task is not classification of data in memory, or the samples are not of type uint8.
        """
        data: TensorData = trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(pl_module, Classifier) or not classifies_tensors(pl_module, data):
            raise ConfigError("callbacks=adversarial is for task=classification on a data set in memory: leave it out.")
        if isinstance(pl_module, PrivateClassifier):
            raise ConfigError(
                "callbacks=adversarial chooses the attacked samples by their place in the batch, so that each depends on the others, "
                "and task=private guarantees nothing: leave it out."
            )
        inputs = data.train_set[0]
        if inputs.dtype != torch.uint8:
            raise ConfigError(
                f"callbacks=adversarial changes grey values from 0 to 255, and these samples hold {inputs.dtype}: leave it out."
            )

        pipeline = Pipeline(data.normalize, pl_module)

        def attack(net: nn.Module, given: tuple[Tensor]) -> tuple[Tensor] | None:
            return (self._attacked(pipeline, given[0], *next(self._batches)),) if net.training else None

        self._listening = pl_module.net.register_forward_pre_hook(attack)

    def on_train_batch_start(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: Classifier, batch: Any, batch_idx: int
    ) -> None:
        """Prepare the labels and random numbers for each batch of the chunk."""
        chunk = as_chunk(batch, batch_idx, trainer.train_dataloader)  # type: ignore[arg-type]
        self._batches = self._needed(trainer, trainer.datamodule, chunk)  # type: ignore[attr-defined]

    def _needed(
        self, trainer: pl.Trainer, data: TensorData, chunk: Chunk
    ) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Yield for each batch its labels, the mask of the attacked samples, and the starting points of PGD."""
        rank, world, device = trainer.global_rank, trainer.world_size, chunk.labels.device
        seeds = step_seeds(ATTACK, data.seed, trainer.current_epoch, 0, data.steps_per_epoch)
        shape = chunk.inputs.shape[1:]
        parts = zip(chunk.labels.split(chunk.sizes), chunk.totals, strict=True)
        for step, (labels, total) in enumerate(parts, chunk.first_step):
            mine = torch.arange(total, device=device)[rank::world]
            random = None
            if self.attack == "pgd":
                generator = torch.Generator(device).manual_seed(seeds[step])
                random = torch.rand(total, *shape, device=device, generator=generator)[rank::world]
            yield labels, mine < round(self.share * total), random

    def _attacked(
        self, model: Pipeline, inputs: Tensor, labels: Tensor, chosen: Tensor, random: Tensor | None
    ) -> Tensor:
        """Inputs as the network takes them (n, *shape), the chosen ones (n,) attacked."""
        raw = model.normalize.inverse(inputs[chosen])
        net = model.classifier.net
        net.eval()
        try:
            if random is None:
                attacked = fgsm(model, raw, labels[chosen], self.epsilon)
            else:
                steps, step_size = self.steps, self.step_size
                attacked = pgd(
                    model, raw, labels[chosen], self.epsilon, steps=steps, step_size=step_size, random=random[chosen]
                )
        finally:
            net.train()
        changed = inputs.clone()
        changed[chosen] = model.normalize(attacked, inputs.dtype)
        return changed

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remove the hook."""
        self._listening.remove()
