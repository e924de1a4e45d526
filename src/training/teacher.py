"""The teacher of a distillation: a finished run."""

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl

from src.errors import ConfigError, UserError
from src.records.find import find_to_rebuild
from src.tasks.distillation import Distiller
from src.training.build import make_data
from src.training.weights import trained

_NAMED = 10  # number of classes listed in a message


def teach(task: pl.LightningModule, data: pl.LightningDataModule | None) -> None:
    """Load the teacher of a ``Distiller``, with its best weights; another task is left unchanged.

    Args:
        task: the LightningModule to train.
        data: its data module.

    Raises:
        ConfigError: the run does not exist, cannot be rebuilt, or was trained on samples of another shape or other classes.
    """
    if not isinstance(task, Distiller):
        return
    try:
        pipeline, config = trained(find_to_rebuild(task.teacher))
    except UserError as error:
        raise ConfigError(f"task.teacher={error}") from error
    there, here = _described(make_data(config)), _described(data)
    if there != here:
        raise ConfigError(
            f"task.teacher={task.teacher} was trained on {there}, and the student's are {here}: choose a run on the same "
            "classes."
        )
    task.learn_from(pipeline)


def _described(data: Any) -> str:
    return (
        f"samples of shape {tuple(data.input_shape)} in {len(data.class_names)} classes ({_listed(data.class_names)})"
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
