"""Placeholder in the configuration of a run whose task was passed as an object."""

from typing import Annotated

import lightning.pytorch as pl

from src.data.given import cannot_be_built


class GivenTask(pl.LightningModule):
    """Placeholder of a LightningModule that was passed to ``src.api.train``.

    Args:
        name: the class of the object.

    Raises:
        ConfigError: always, since it cannot be built.
    """

    def __init__(self, *, name: Annotated[str, "class of the object"]) -> None:
        raise cannot_be_built("task", name)
