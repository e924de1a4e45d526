"""Loading the models of finished runs and their data."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.config.check import check
from src.errors import ConfigError, UserError
from src.numerics import flush_subnormals
from src.records.record import Record

if TYPE_CHECKING:
    import lightning.pytorch as pl

    from src.data.module import TensorData
    from src.tasks.pipeline import Pipeline


def load_model(path: str | Path) -> "pl.LightningModule | Pipeline":
    """Rebuild a trained model from a checkpoint file, which contains plain data and the configuration.

    Returns:
        The model on the CPU and in evaluation mode. For classification of data in memory it consists of preprocessing and
        network and maps raw samples ``(n, *input_shape)`` to logits ``(n, outputs)``; otherwise it is the LightningModule.

    Raises:
        UserError: there is no such file, or it is damaged or not a checkpoint of this project.
    """
    task, _, data = _load_task(Path(path))
    return _pipeline(task, data) or task


def trained_task(
    record: Record, checkpoint: str = "best", changes: Mapping[str, Any] = {}
) -> "tuple[pl.LightningModule, dict[str, Any]]":
    """Rebuild a run's LightningModule from one of its checkpoints.

    Args:
        record: the run.
        checkpoint: ``"best"`` or ``"last"``.
        changes: settings of the task that replace the run's.

    Returns:
        The module on the CPU and in evaluation mode, and the run's configuration. As in training, the process flushes
        subnormals from then on.

    Raises:
        UserError: the run is still running or was made by another version of this project, or the checkpoint is missing or
            damaged, or the task has no such setting.
    """
    task, config, _ = _load_run(record, checkpoint, changes)
    return task, config


def path_of(record: Record, checkpoint: str) -> Path:
    """Path of a run's checkpoint, ``"best"`` or ``"last"``.

    Raises:
        UserError: the run is still running or was made by another version of this project.
    """
    from src.training.checkpoints import FOLDER

    try:
        check(record.values["config"])
    except ConfigError as error:
        raise UserError(f"{record.values['id']} was configured for another version of this project: {error}") from error
    if record.status == "running":
        raise UserError(f"{record.values['id']} is still running: its weights can be used when it has ended.")
    # One of several, if save_top_k keeps them.
    best = record.values["best"]["checkpoint"] if checkpoint == "best" else None
    return record.directory / (best or f"{FOLDER}/{checkpoint}.ckpt")


def trained(record: Record, checkpoint: str = "best") -> "tuple[Pipeline, dict[str, Any]]":
    """Rebuild the preprocessing and the network of a run that classifies data in memory; see ``trained_task``.

    Raises:
        UserError: as ``trained_task``, or the run trained something else.
    """
    task, config, data = _load_run(record, checkpoint)
    if (pipeline := _pipeline(task, data)) is None:
        raise UserError(
            f"{record.values['id']} trained {config['task']['_target_']} on {(config['data'] or {}).get('_target_', 'its own data')}: this command is for "
            "task=classification on a data set in memory with one class for each sample, such as data=mnist."
        )
    return pipeline, config


def _load_run(
    record: Record, checkpoint: str, changes: Mapping[str, Any] = {}
) -> "tuple[pl.LightningModule, dict[str, Any], pl.LightningDataModule | None]":
    flush_subnormals()
    return _load_task(path_of(record, checkpoint), changes)


def _load_task(
    path: Path, changes: Mapping[str, Any] = {}
) -> "tuple[pl.LightningModule, dict[str, Any], pl.LightningDataModule | None]":
    from src.training.build import make_data, make_task
    from src.training.checkpoints import load
    from src.training.recorder import CONFIG

    state = load(path)
    try:
        config = check({**state[CONFIG], "task": {**state[CONFIG]["task"], **changes}})
        data = make_data(config)
        task = make_task(config, data)
        task.on_load_checkpoint(state)  # a module may build what its state_dict needs there
        task.load_state_dict(state["state_dict"])
    except UserError:
        raise
    except Exception as error:  # plain data, but of any form
        raise UserError(
            f"{path} is not a checkpoint of this project ({type(error).__name__}: {' '.join(str(error).split())})."
        ) from error
    return task.eval(), config, data


def _pipeline(task: "pl.LightningModule", data: Any) -> "Pipeline | None":
    from src.tasks.classification import classifies_tensors
    from src.tasks.pipeline import Pipeline

    return Pipeline(data.normalize, task).eval() if classifies_tensors(task, data) else None  # type: ignore[arg-type]


def data_of(config: dict[str, Any], *stages: str) -> "TensorData":
    """Build a run's data module for data in memory, with the samples of the stages (``validate``, ``test``) loaded."""
    from src.training.build import make_data

    data: TensorData = make_data(config)  # type: ignore[assignment]
    if stages:
        data.prepare_data()
    for stage in stages:
        data.setup(stage)
    return data
