"""The training of a single run, executed by each of its processes: build the configured objects, train, test, record."""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.core.optimizer import _MockOptimizer
from lightning.pytorch.utilities.model_helpers import is_overridden

from src.config.schemas import PARAM_GROUPS, of_group
from src.config.targets import OWN_OF_TRAINER, TRAINER_DEFAULTS, build, resolve
from src.data.module import TensorData
from src.errors import UserError
from src.fast.classification import CHUNKED, obstacle
from src.files import is_full
from src.launching.hardware import choose
from src.launching.logs import quiet_lightning
from src.loggers.csv import OnOptimizerStep, session
from src.numerics import flush_subnormals, keep_freed_memory
from src.records.record import Record
from src.training.build import ScheduleSteps, check_outputs, make_data, make_network, make_task
from src.training.check import is_builtin
from src.training.checkpoints import FOLDER, LAST, DurableCheckpointIO, TrialSave, load
from src.training.epochs import KEY as ACCUMULATED
from src.training.epochs import AccumulatedMetrics
from src.training.finetuning import freeze, initialize
from src.training.loaders import DDP, SingleDevice, undivided
from src.training.recorder import CONFIG, RunRecorder
from src.training.recorder import KEY as RECORDER
from src.training.seeding import SeedSteps
from src.training.signals import StopOnSignal
from src.training.teacher import load_teacher
from src.training.unsupported import check_callback

log = logging.getLogger(__name__)

# Trainer arguments that both the fast path and Lightning's loop support.
_FOR_BOTH_PATHS = (
    "accelerator",
    "devices",
    "num_nodes",
    "precision",
    "max_epochs",
    "log_every_n_steps",
    "deterministic",
)


def fit(
    config: dict[str, Any],
    directory: str,
    extra: Sequence[pl.Callback] = (),
    checkpoint: str | None = None,
    objects: Mapping[str, Any] = {},
) -> dict[str, Any]:
    """Train and test one configuration; every rank calls this with the same arguments.

    Args:
        config: a checked configuration.
        directory: the run's directory, with its record.
        extra: further callbacks. If one has an attribute ``pruned_in_epoch`` that is set after training, as that of a pruned
            trial, the model is not tested.
        checkpoint: the checkpoint to resume from; None starts a new training.
        objects: ``task`` and ``data`` that replace the configured ones.

    Returns:
        The entries of the record: ``metrics`` (of the last epoch and of the test), ``best`` (metric, value, epoch,
        checkpoint), ``samples_per_s``, ``samples_by_threads``, and for a pruned trial ``pruned_in_epoch``.

    Raises:
        UserError: the data is damaged, the loss is NaN or infinite, or the disk is full.
        Interrupted: a signal stopped the run; last.ckpt contains the state of the training.
    """
    try:
        return _fit(config, Path(directory), extra, checkpoint, objects)
    except MisconfigurationException as error:
        raise UserError(" ".join(str(error).split())) from error
    except OSError as error:
        if not is_full(error):
            raise
        raise UserError(
            f"{directory} cannot be written ({error.strerror}): free some space and resume the run; what was written stays."
        ) from error
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"{_sentences(error, 2)} Set a smaller data.batch_size or network, or trainer.precision=bf16-mixed."
        ) from error


def _fit(
    config: dict[str, Any],
    directory: Path,
    extra: Sequence[pl.Callback],
    checkpoint: str | None,
    objects: Mapping[str, Any],
) -> dict[str, Any]:
    flush_subnormals()
    keep_freed_memory()
    pl.seed_everything(config["seed"], workers=True, verbose=False)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # no code here reads uninitialized memory
    state = load(Path(checkpoint), "meta") if checkpoint else None
    data = objects["data"] if "data" in objects else make_data(config)
    loggers = _make_loggers(config, directory, state)
    own_loggers = [logger for logger in loggers.values() if isinstance(logger, OnOptimizerStep)]
    for callback in extra:  # check_targets has checked those of the configuration
        check_callback(type(callback), type(callback).__name__, is_builtin(config))
    callbacks = [build(node, "callbacks") for node in config["callbacks"].values()]
    for callback in callbacks:
        if isinstance(callback, pl.callbacks.ModelCheckpoint) and callback.dirpath is None:
            callback.dirpath = str(directory / FOLDER)  # by default Lightning asks the first logger
    stop = StopOnSignal(str(directory / FOLDER / LAST) if _saves(callbacks) else None)
    fast = _selects_fast_path(config, data, [*callbacks, *extra], state)  # the program's own callbacks replace both
    recorder = RunRecorder(directory, config, fast)
    net = None
    if config["model"] is not None:
        net = make_network(config, data)
        check_outputs(net, config, data)
    every = config["trainer"].get("log_every_n_steps", 50)
    if fast:
        assert isinstance(data, TensorData)
        data.in_chunks = True
        every = max(1, round(every / data.steps_per_execution))  # to the nearest whole chunk
        varies_threads = config["trainer"]["threads"] == "auto"
        chunked = CHUNKED[resolve(config["task"]["_target_"], "task")]
        factory = partial(chunked, seed=config["seed"], varies_threads=varies_threads)
        task = make_task(config, data, net, factory)
    else:
        task = objects["task"] if "task" in objects else make_task(config, data, net)
        callbacks = [ScheduleSteps(), *callbacks, SeedSteps(config["seed"]), AccumulatedMetrics()]
    trainer = make_trainer(
        config,
        logger=list(loggers.values()),
        callbacks=[*callbacks, recorder, *extra, TrialSave((CONFIG, RECORDER, ACCUMULATED)), stop],
        default_root_dir=str(directory),
        **{**_validation(data), "log_every_n_steps": every},
    )
    # When resumed at the end of an epoch with max_steps, Lightning would repeat that end and count the epoch twice.
    trainer.fit_loop._iteration_based_training = lambda: False  # type: ignore[method-assign]
    # Lightning sets this variable on import, so that torch queries NVML for GPUs and the process can still fork. From here on
    # nothing is forked; and optimizers query it at every step, which without a driver costs a tenth of the step.
    os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
    if checkpoint is None and (others := initialize(task, config["init_from"])) and trainer.is_global_zero:
        Record.load(directory).warn(f"init_from={config['init_from']['path']} did not initialize {', '.join(others)}")
    if (warning := load_teacher(task, data)) and checkpoint is None and trainer.is_global_zero:
        Record.load(directory).warn(warning)
    freeze(task, config["freeze"])
    averages = any(isinstance(one, pl.callbacks.StochasticWeightAveraging) for one in callbacks)
    if checkpoint and averages and trainer.is_global_zero:
        Record.load(directory).warn(
            "the resumed run differs from an uninterrupted one: Lightning's StochasticWeightAveraging is not restored exactly"
        )
    device = trainer.strategy.root_device
    log.info("rank %d of %d: pid %d, %s", trainer.global_rank, trainer.world_size, os.getpid(), device)
    if device.type == "cuda" and trainer.is_global_zero:
        record = Record.load(directory)
        record.update(environment={**record.values["environment"], "gpu": torch.cuda.get_device_name(device)})

    with ExitStack() as stack:
        stack.callback(torch.set_num_threads, torch.get_num_threads())  # the last epoch may have used fewer
        stack.enter_context(session(own_loggers, config, trainer))
        _record_loggers(loggers, config, trainer, directory)
        trainer.fit(task, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        if not trainer.fit_loop.epoch_loop.batch_progress.total.completed:
            raise UserError(
                f"{type(data or task).__name__}: there is no batch to train on: its training set is empty, or smaller than a batch that "
                "is dropped because it is not complete (drop_last)."
            )
        if trainer.world_size > 1 and trainer.is_global_zero and (names := undivided(trainer)):
            Record.load(directory).warn(
                f"every process trained on all of {', '.join(names)}, unless it takes its share itself, by "
                "torch.distributed.get_rank()"
            )
        if (
            task.automatic_optimization
            and trainer.is_global_zero
            and all(isinstance(one, _MockOptimizer) for one in trainer.optimizers)
        ):
            Record.load(directory).warn(
                "configure_optimizers() returned no optimizer: the weights are those of the beginning"
            )
        best = recorder.record(trainer)["best"]["checkpoint"]
        for callback in extra:
            if epoch := getattr(callback, "pruned_in_epoch", None):
                return recorder.record(trainer, pruned_in_epoch=epoch)
        if has_test(task, data):
            for logger in own_loggers:
                logger.begin_test()
            path = str(directory / best) if best else None
            trainer.test(task, datamodule=data, ckpt_path=path, verbose=False, weights_only=True)
        return recorder.record(trainer)


def _sentences(error: Exception, count: int) -> str:
    """The first sentences of a message that fills a page."""
    return ". ".join(str(error).split(". ")[:count]) + "."


def has_test(task: pl.LightningModule, data: pl.LightningDataModule | None) -> bool:
    """Whether a task can be tested: it defines ``test_step``, and it or the data module defines ``test_dataloader``."""
    has_loader = any(one is not None and is_overridden("test_dataloader", one) for one in (data, task))
    return is_overridden("test_step", task) and has_loader


def _validation(data: pl.LightningDataModule | None) -> dict[str, Any]:
    return {"limit_val_batches": 0} if isinstance(data, TensorData) and not data.val_size else {}


def _make_loggers(
    config: Mapping[str, Any], directory: Path, state: Mapping[str, Any] | None
) -> dict[str, pl.loggers.Logger]:
    """Build the loggers, as a dict by name.

    Arguments are passed if the constructor has the parameter: to the loggers of this project ``directory`` and ``resumed_at``,
    to others ``save_dir`` and, in a resumed run, the ``id`` or ``run_id`` of the first session.
    """
    known = Record.load(directory).values.get("loggers", {})
    resumed_at = state["global_step"] if state else None
    supplied: dict[str, Any] = {"directory": str(directory), "save_dir": str(directory), "resumed_at": resumed_at}
    return {
        name: build(
            node,
            "logger",
            prefix=f"logger.{name}",
            supplied=supplied | ({"id": known[name], "run_id": known[name]} if name in known else {}),
        )
        for name, node in config["logger"].items()
    }


def _record_loggers(
    loggers: Mapping[str, pl.loggers.Logger], config: dict[str, Any], trainer: pl.Trainer, directory: Path
) -> None:
    """Log the configuration, and record the id that each logger assigned to the run, if any."""
    if not trainer.is_global_zero:
        return
    for logger in loggers.values():
        logger.log_hyperparams(config)
    ids = {name: str(logger.version) for name, logger in loggers.items() if logger.version not in (None, "")}
    if ids:
        Record.load(directory).update(loggers=ids)


def _selects_fast_path(
    config: Mapping[str, Any],
    data: pl.LightningDataModule | None,
    callbacks: Sequence[pl.Callback],
    state: Mapping[str, Any] | None,
) -> bool:
    """Whether the training uses the fast path: it must be supported and, if the run is resumed, have been used before.

    Args:
        config: a checked configuration.
        data: the data module.
        callbacks: callbacks of the configuration and of the caller.
        state: the checkpoint of a resumed run.

    Raises:
        UserError: the run was started on the fast path, which is no longer supported.
    """
    reason = _changed_argument(config["trainer"]) or obstacle(
        resolve(config["task"]["_target_"], "task"), data, callbacks
    )
    if config["freeze"] or (config["optimizer"] or {}).get(PARAM_GROUPS):
        reason = reason or "some parameters are trained in another way"
    if state is not None and state[RECORDER]["fast"] != (reason is None):
        if reason:
            raise UserError(
                f"the run began on the fast path, which is not possible any more ({reason}): start a new run."
            )
        reason = "as the run began"
    if reason:
        log.info("trained by Lightning's own loop, without the fast path for small networks: %s", reason)
    return reason is None


def _changed_argument(trainer: Mapping[str, Any]) -> str | None:
    """A Trainer argument that differs from its default and is not supported by the fast path."""
    properties = of_group("trainer")["trainer"]["properties"]
    if trainer["precision"] in ("bf16-true", "16-true"):
        return f"trainer.precision={trainer['precision']}"
    for name, value in trainer.items():
        if name in (*_FOR_BOTH_PATHS, *OWN_OF_TRAINER):
            continue
        if value != properties[name].get("default"):
            return f"trainer.{name}={value}"
    return None


def make_trainer(config: Mapping[str, Any], callbacks: Sequence[pl.Callback], **options: Any) -> pl.Trainer:
    """Build a Trainer for the hardware with the configured arguments.

    Args:
        config: a checked configuration.
        callbacks: all callbacks of the training.
        options: ``log_every_n_steps``, and further arguments that the configuration overrides.
    """
    quiet_lightning()
    hardware, settings = choose(config["trainer"]), dict(config["trainer"])
    kind = settings.pop("strategy", "auto")
    for name in ("accelerator", "devices", "num_nodes", "log_every_n_steps", *OWN_OF_TRAINER):
        settings.pop(name, None)
    # Lightning selects the GPU by its number.
    device = "cuda:0" if hardware.accelerator == "cuda" else hardware.accelerator
    strategy: SingleDevice | DDP = SingleDevice(device=device)
    if hardware.world > 1:
        backend = "nccl" if hardware.accelerator == "cuda" else "gloo"
        strategy = DDP(process_group_backend=backend, find_unused_parameters=kind == "ddp_find_unused_parameters_true")
    strategy.seed = config["seed"]
    defaults = {**TRAINER_DEFAULTS, "sync_batchnorm": hardware.accelerator == "cuda" and hardware.world > 1}
    return pl.Trainer(
        accelerator=hardware.accelerator,
        devices=hardware.devices,
        num_nodes=hardware.num_nodes,
        strategy=strategy,
        # Set explicitly, because Lightning would infer it from variables that a cluster sets for other purposes.
        plugins=[DurableCheckpointIO(), TorchElasticEnvironment() if hardware.world > 1 else LightningEnvironment()],
        callbacks=list(callbacks),
        enable_checkpointing=_saves(callbacks),
        enable_progress_bar=any(isinstance(callback, pl.callbacks.ProgressBar) for callback in callbacks),
        enable_autolog_hparams=False,
        **{**defaults, **options, **settings},
    )


def _saves(callbacks: Iterable[pl.Callback]) -> bool:
    return any(isinstance(callback, pl.callbacks.Checkpoint) for callback in callbacks)
