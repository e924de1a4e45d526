"""What stands in the configuration of a run that was trained on objects instead of names."""

from typing import Annotated

import lightning.pytorch as pl

from src.errors import ConfigError


class GivenData(pl.LightningDataModule):
    """Stands for a LightningDataModule that was passed to ``src.train.train``; it cannot be built.

    Args:
        name: the class of the object.

    Raises:
        ConfigError: always.
    """

    def __init__(self, *, name: Annotated[str, "class of the object"]) -> None:
        raise ConfigError(
            f"data={name} was passed as a Python object, which no configuration describes: only train() can use it; name the class "
            "by data._target_ to evaluate, resume, reproduce or sweep."
        )
