"""The model of a finished run, and its data set."""

from typing import TYPE_CHECKING, Any

from src.config.check import check
from src.errors import ConfigError, UserError
from src.numerics import flush_subnormals
from src.records.record import Record

if TYPE_CHECKING:
    from src.data.module import TensorData
    from src.tasks.classification import Classifier


def trained(record: Record, checkpoint: str = "best") -> "tuple[Classifier, dict[str, Any]]":
    """Rebuild a run's model from one of its checkpoints.

    Args:
        record: the run.
        checkpoint: best or last.

    Returns:
        The model, on the CPU and set to evaluation, and the run's configuration. From then on this process flushes subnormals,
        as in training.

    Raises:
        UserError: the run is at work or of another version of this project, or the checkpoint is missing or damaged.
    """
    from src.tasks.classification import Classifier
    from src.training.checkpoints import FOLDER, load

    try:
        config = check(record.values["config"])
    except ConfigError as error:
        raise UserError(f"{record.values['id']} was configured for another version of this project: {error}") from error
    if record.status == "running":
        raise UserError(f"{record.values['id']} is still running: its weights can be used when it has ended.")
    path = record.directory / FOLDER / f"{checkpoint}.ckpt"
    flush_subnormals()
    load(path)  # says what is wrong with a missing, damaged or foreign file
    try:
        return Classifier.load_from_checkpoint(path).eval(), config
    except Exception as error:  # plain data, but of what shape is anybody's guess
        raise UserError(f"{path} is not a checkpoint of this project ({type(error).__name__}: {error}).") from error


def data_of(config: dict[str, Any], *stages: str) -> "TensorData":
    """Build the data set of a run, with the samples of these stages (``validate``, ``test``) loaded."""
    from src.config.targets import build

    data: TensorData = build(config["data"], "data", seed=config["seed"])
    data.prepare_data()
    for stage in stages:
        data.setup(stage)
    return data
