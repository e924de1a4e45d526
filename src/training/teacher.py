"""The teacher of a distillation: a finished run."""

from typing import Any

import lightning.pytorch as pl

from src.errors import ConfigError, RunNotFound, UserError
from src.records.find import find_to_rebuild
from src.tasks.distillation import Distiller
from src.training.build import make_data
from src.training.weights import trained


def load_teacher(task: pl.LightningModule, data: Any) -> str | None:
    """Load the teacher of a ``Distiller``, with its best weights; another task is left unchanged.

    Args:
        task: the LightningModule to train.
        data: its data module.

    Returns:
        A warning for the record, if the teacher may have been trained on the student's test samples.

    Raises:
        ConfigError: the run does not exist, cannot be rebuilt, or was trained on samples of another shape, other features or
            other classes.
    """
    if not isinstance(task, Distiller):
        return None
    try:
        pipeline, config = trained(find_to_rebuild(task.teacher))
        others: Any = make_data(config)
    except RunNotFound as error:
        raise ConfigError(f"task.teacher={error}") from error
    except UserError as error:
        raise ConfigError(f"task.teacher={task.teacher}: {error}") from error
    if found := mismatch(others, data):
        raise ConfigError(f"task.teacher={task.teacher} was trained on {found}: choose a run on the same data.")
    task.learn_from(pipeline)
    if data.draws_test and others.seed != data.seed:
        return (
            f"task.teacher={task.teacher} was trained with seed {others.seed}, which chooses other test samples than seed "
            f"{data.seed}: it may have been trained on those that test this run"
        )
    return None


def mismatch(teacher: Any, student: Any) -> str | None:
    """The first difference between the samples of two data modules, in shape, classes or features; None if there is none."""
    shapes = tuple(teacher.input_shape), tuple(student.input_shape)
    if shapes[0] != shapes[1]:
        return f"samples of shape {shapes[0]}, and the student's are of shape {shapes[1]}"
    if len(teacher.class_names) != len(student.class_names):
        return f"{len(teacher.class_names)} classes, and the student has {len(student.class_names)}"
    for what, attribute in (("classes", "class_names"), ("features", "feature_names")):
        theirs, own = (getattr(data, attribute, ()) for data in (teacher, student))
        for number, (one, other) in enumerate(zip(theirs, own, strict=False)):  # features may have no names
            if one != other:
                return f"other {what} (number {number} is {one!r}, and the student's is {other!r})"
    return None
