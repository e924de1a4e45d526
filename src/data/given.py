"""Placeholder in the configuration of a run whose data module was passed as an object."""

from typing import Annotated

import lightning.pytorch as pl

from src.errors import ConfigError


def cannot_be_built(group: str, name: str) -> ConfigError:
    """The error for building the placeholder of an object whose class has this name."""
    return ConfigError(
        f"{group}={name} was passed as a Python object, which no configuration describes: only train() can use it; name the class "
        f"by {group}._target_ to evaluate, resume, reproduce or sweep."
    )


class GivenData(pl.LightningDataModule):
    """Placeholder of a LightningDataModule that was passed to ``src.api.train``.

    Args:
        name: the class of the object.

    Raises:
        ConfigError: always, since it cannot be built.
    """

    def __init__(self, *, name: Annotated[str, "class of the object"]) -> None:
        raise cannot_be_built("data", name)
