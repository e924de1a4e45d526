"""Training in this process, without a command."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from src.config.command_line import parse
from src.config.compose import preflight
from src.records.record import Record
from src.training.checkpoints import newest
from src.training.fit import fit
from src.training.run import _clear


def fit_in(directory: Path, words: Sequence[str], extra: Sequence[pl.Callback] = ()) -> dict[str, Any]:
    """Train, or resume where ``directory`` contains a checkpoint; returns what ``fit`` returns, and ``directory``."""
    [config] = preflight(parse([*words]))
    directory.mkdir(exist_ok=True)
    checkpoint = newest(directory / "checkpoints")
    if checkpoint is None:
        _clear(directory)
        Record.start(directory, sweep=None, config=config, overrides=[], command="", git=None, environment={})
    return {**fit(config, str(directory), extra, checkpoint and str(checkpoint)), "directory": directory}
