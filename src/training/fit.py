"""One training, as carried out by every process of a run: build the objects of a configuration, train, test, record."""

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from src.config.targets import build, resolve
from src.data.module import TensorData
from src.errors import UserError
from src.fast.classification import ChunkedClassifier, obstacle
from src.files import is_full
from src.launching.hardware import choose
from src.launching.logs import quiet_lightning
from src.numerics import flush_subnormals
from src.tasks.classification import Classifier
from src.tasks.losses import DEFAULT, outputs_for
from src.training.checkpoints import FOLDER, LAST, DurableCheckpointIO, load
from src.training.recorder import KEY as RECORDER
from src.training.recorder import RunRecorder
from src.training.seeding import SeedSteps
from src.training.signals import StopOnSignal
from src.training.unsupported import check_callback

log = logging.getLogger(__name__)

# Optimizer steps between two points of the curves within an epoch; on the fast path to the nearest whole chunk.
_LOG_EVERY_STEPS = 50


def fit(
    config: dict[str, Any], directory: str, extra: Sequence[pl.Callback] = (), checkpoint: str | None = None
) -> dict[str, Any]:
    """Train and test one configuration; every rank calls this with the same arguments.

    Args:
        config: a checked configuration.
        directory: the run's directory, with its record.
        extra: further callbacks. If one has an attribute ``pruned_in_epoch`` that is set after training, as that of a pruned
            trial, the model is not tested.
        checkpoint: where to go on from; None begins.

    Returns:
        What is in the record: ``metrics`` (the last epoch's and the test's), ``best`` (metric, value, epoch, checkpoint),
        ``samples_per_s``, ``samples_by_threads``, and of a pruned trial of a search ``pruned_in_epoch``.

    Raises:
        UserError: the data is damaged, the loss is no number any more, or the disk is full.
        Interrupted: the run was told to stop; last.ckpt holds where the training stood.
    """
    try:
        return _fit(config, Path(directory), extra, checkpoint)
    except OSError as error:
        if not is_full(error):
            raise
        raise UserError(
            f"{directory} cannot be written ({error.strerror}): free some space and resume the run; what was written stays."
        ) from error


def _fit(
    config: dict[str, Any], directory: Path, extra: Sequence[pl.Callback], checkpoint: str | None
) -> dict[str, Any]:
    flush_subnormals()
    pl.seed_everything(config["seed"], verbose=False)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # nothing here reads memory it has not written
    state = load(Path(checkpoint), "meta") if checkpoint else None
    resumed_at = state["global_step"] if state else None
    data: TensorData = build(config["data"], "data", seed=config["seed"])
    loggers = [
        build(node, "logger", directory=str(directory), resumed_at=resumed_at) for node in config["logger"].values()
    ]
    for callback in extra:  # check_targets has checked those of the configuration
        check_callback(type(callback), type(callback).__name__)
    callbacks = [build(node, "callbacks") for node in config["callbacks"].values()]
    stop = StopOnSignal(str(directory / FOLDER / LAST) if _saves(callbacks) else None)
    fast = _selects_fast_path(config, data, [*callbacks, *extra], state)  # the program's own callbacks do for both
    recorder = RunRecorder(directory, config, fast)
    task: Classifier
    if fast:
        data.in_chunks = True
        varies_threads = config["trainer"]["threads"] == "auto"
        task = make_task(config, data, partial(ChunkedClassifier, seed=config["seed"], varies_threads=varies_threads))
    else:
        task = make_task(config, data)
        callbacks = [*callbacks, SeedSteps(config["seed"])]
    trainer = make_trainer(
        config,
        logger=loggers,
        callbacks=[*callbacks, recorder, *extra, stop],
        max_epochs=config["trainer"]["max_epochs"],
        log_every_n_steps=max(1, round(_LOG_EVERY_STEPS / data.steps_per_execution)) if fast else _LOG_EVERY_STEPS,
        limit_val_batches=1.0 if data.val_size else 0,
        default_root_dir=str(directory),
    )
    # Lightning sets this when it is imported, so that whoever asks for a GPU may fork afterwards: torch then asks NVML. From
    # here on nothing is forked; and the optimizer asks at every step, which without a driver costs a tenth of it.
    os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
    for logger in loggers:
        logger.open_session(config, trainer)
    log.info(
        "rank %d of %d: pid %d, %s", trainer.global_rank, trainer.world_size, os.getpid(), trainer.strategy.root_device
    )

    threads = torch.get_num_threads()
    try:
        trainer.fit(task, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        best = recorder.record(trainer)["best"]["checkpoint"]
        for callback in extra:
            if epoch := getattr(callback, "pruned_in_epoch", None):
                return recorder.record(trainer, pruned_in_epoch=epoch)
        for logger in loggers:
            logger.begin_test()
        trainer.test(task, datamodule=data, ckpt_path=best and str(directory / best), verbose=False, weights_only=True)
        return recorder.record(trainer)
    finally:
        torch.set_num_threads(threads)  # the last epoch may have used fewer
        for logger in loggers:
            logger.close()


def _selects_fast_path(
    config: Mapping[str, Any], data: TensorData, callbacks: Sequence[pl.Callback], state: Mapping[str, Any] | None
) -> bool:
    """Whether the training takes the fast path: if it is possible, and if a resumed run has taken it so far.

    Args:
        config: a checked configuration.
        data: the data set.
        callbacks: those of the configuration and of the caller.
        state: the checkpoint of a resumed run.

    Raises:
        UserError: the run has taken the fast path so far, and it is not possible any more.
    """
    reason = obstacle(resolve(config["task"]["_target_"], "task"), data, callbacks)
    if state is not None and state[RECORDER]["fast"] != (reason is None):
        if reason:
            raise UserError(
                f"the run began on the fast path, which is not possible any more ({reason}): start a new run."
            )
        reason = "as the run began"
    if reason:
        log.info("training step by step in Lightning's own loop: %s", reason)
    return reason is None


def make_task(
    config: Mapping[str, Any], data: TensorData, factory: Callable[..., Classifier] | None = None
) -> Classifier:
    """Build the LightningModule for the samples and classes of a data set.

    Args:
        config: a checked configuration.
        data: the data set; it need not be loaded.
        factory: called in place of what ``_target_`` names.
    """
    settings = {key: value for key, value in config["task"].items() if key != "_target_"}
    outputs = outputs_for(settings.get("loss", DEFAULT), data.classes)

    def make_optimizer(parameters: Iterable[nn.Parameter]) -> Optimizer:
        return build(config["optimizer"], "optimizer", parameters)

    def make_schedule(optimizer: Optimizer) -> LRScheduler | None:  # called once the data is loaded
        steps, epochs = data.steps_per_epoch, config["trainer"]["max_epochs"]
        return build(config["schedule"], "schedule", optimizer, steps_per_epoch=steps, max_epochs=epochs)

    return (factory or resolve(config["task"]["_target_"], "task"))(
        net=build(config["model"], "model", input_shape=list(data.input_shape), outputs=outputs),
        classes=data.classes,
        optimizer=make_optimizer,
        schedule=make_schedule,
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
        enable_checkpointing=_saves(callbacks),
        enable_progress_bar=any(isinstance(callback, pl.callbacks.ProgressBar) for callback in callbacks),
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **options,
    )


def _saves(callbacks: Iterable[pl.Callback]) -> bool:
    return any(isinstance(callback, pl.callbacks.Checkpoint) for callback in callbacks)
