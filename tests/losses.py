"""Loss of every optimizer step of a training, as JSON; run as a program, since a process that starts ranks computes nothing.

python -m tests.losses <directory> <override> ...
"""

import json
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from src.config.command_line import parse
from src.config.compose import preflight
from src.launching.hardware import choose
from src.launching.local_processes import LocalProcesses
from src.records.record import Record
from src.training.fit import fit


class Losses(pl.Callback):
    """Keeps train/loss of each chunk; with one step in a chunk, of each step."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: object, batch_idx: int
    ) -> None:
        self.values.append(outputs["train/loss"])


def fit_with_losses(config: dict[str, Any], directory: str) -> dict[str, Any]:
    losses = Losses()
    return {**fit(config, directory, [losses]), "losses": losses.values}


if __name__ == "__main__":
    directory = Path(sys.argv[1])
    [config] = preflight(parse(sys.argv[2:]))
    Record.start(directory, sweep=None, config=config, overrides=[], command="", git=None, environment={})
    print("\n" + json.dumps(LocalProcesses(choose(config["trainer"])).launch(fit_with_losses, config, str(directory))))
