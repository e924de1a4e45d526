"""The LightningModule and the Trainer that a configuration describes."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import lightning.pytorch as pl
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch.optim import Optimizer

from src.config.targets import build, resolve
from src.data.module import TensorData
from src.launching.hardware import choose
from src.launching.logs import quiet_lightning
from src.tasks.classification import Classifier
from src.tasks.losses import DEFAULT, outputs_for
from src.training.checkpoints import DurableCheckpointIO


def make_task(config: Mapping[str, Any], data: TensorData, task: Callable[..., Classifier] | None = None) -> Classifier:
    """Build the LightningModule for the samples and classes of a data set.

    Args:
        config: a checked configuration.
        data: the data set; it need not be loaded.
        task: takes the settings of the group in place of its ``_target_``.
    """
    settings = {key: value for key, value in config["task"].items() if key != "_target_"}
    outputs = outputs_for(settings.get("loss", DEFAULT), data.classes)

    def schedule(optimizer: Optimizer) -> Any:
        steps, epochs = data.steps_per_epoch, config["trainer"]["max_epochs"]
        return build(config["schedule"], "schedule", optimizer, steps_per_epoch=steps, max_epochs=epochs)

    return (task or resolve(config["task"]["_target_"], "task"))(
        net=build(config["model"], "model", input_shape=list(data.input_shape), outputs=outputs),
        classes=data.classes,
        optimizer=partial(build, config["optimizer"], "optimizer"),
        schedule=schedule,
        **settings,
    )


def make_trainer(config: Mapping[str, Any], callbacks: Sequence[pl.Callback], **options: Any) -> pl.Trainer:
    """Build a Trainer for the hardware of a configuration."""
    quiet_lightning()
    hardware = choose(config["trainer"])
    backend = "nccl" if hardware.accelerator == "cuda" else "gloo"
    return pl.Trainer(
        accelerator=hardware.accelerator,
        devices=hardware.devices,
        num_nodes=hardware.num_nodes,
        precision=config["trainer"]["precision"],
        sync_batchnorm=hardware.accelerator == "cuda" and hardware.world > 1,
        strategy=DDPStrategy(process_group_backend=backend) if hardware.world > 1 else "auto",
        # Named, because Lightning would guess from variables that a cluster sets for other reasons.
        plugins=[DurableCheckpointIO(), TorchElasticEnvironment() if hardware.world > 1 else LightningEnvironment()],
        callbacks=list(callbacks),
        deterministic=True,
        enable_checkpointing=any(isinstance(callback, pl.callbacks.Checkpoint) for callback in callbacks),
        enable_progress_bar=any(isinstance(callback, pl.callbacks.ProgressBar) for callback in callbacks),
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **options,
    )
