"""The models of finished runs, and their data sets."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.config.check import check
from src.errors import ConfigError, UserError
from src.numerics import flush_subnormals
from src.records.record import Record

if TYPE_CHECKING:
    from src.data.module import TensorData
    from src.tasks.pipeline import Pipeline


def load_model(path: str | Path) -> "Pipeline":
    """Rebuild a trained model from a checkpoint file alone, which holds plain data and the configuration.

    Returns:
        Preprocessing and network, on the CPU and in evaluation mode: maps raw samples (n, *input_shape) to logits (n, outputs).

    Raises:
        UserError: there is no such file, or it is damaged or not a checkpoint of this project.
    """
    from src.tasks.pipeline import Pipeline
    from src.training.checkpoints import load
    from src.training.fit import make_task
    from src.training.recorder import CONFIG

    state = load(Path(path))
    try:
        config = check(state[CONFIG])
        data = data_of(config)
        task = make_task(config, data)
        task.load_state_dict(state["state_dict"])
    except Exception as error:  # plain data, but of any form
        raise UserError(f"{path} is not a checkpoint of this project ({type(error).__name__}: {error}).") from error
    return Pipeline(data.normalize, task).eval()


def trained(record: Record, checkpoint: str = "best") -> "tuple[Pipeline, dict[str, Any]]":
    """Rebuild a run's model from one of its checkpoints.

    Args:
        record: the run.
        checkpoint: best or last.

    Returns:
        The model as ``load_model`` returns it, and the run's configuration. From then on this process flushes subnormals, as
        in training.

    Raises:
        UserError: the run is running or of another version of this project, or the checkpoint is missing or damaged.
    """
    from src.training.checkpoints import FOLDER

    try:
        config = check(record.values["config"])
    except ConfigError as error:
        raise UserError(f"{record.values['id']} was configured for another version of this project: {error}") from error
    if record.status == "running":
        raise UserError(f"{record.values['id']} is still running: its weights can be used when it has ended.")
    best = (
        record.values["best"]["checkpoint"] if checkpoint == "best" else None
    )  # one of several, if save_top_k keeps them
    flush_subnormals()
    return load_model(record.directory / (best or f"{FOLDER}/{checkpoint}.ckpt")), config


def data_of(config: dict[str, Any], *stages: str) -> "TensorData":
    """Build the data set of a run, with the samples of these stages (``validate``, ``test``) loaded."""
    from src.config.targets import build

    data: TensorData = build(config["data"], "data", seed=config["seed"])
    if stages:
        data.prepare_data()
    for stage in stages:
        data.setup(stage)
    return data
