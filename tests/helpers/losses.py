"""Loss of every optimizer step of a training, as JSON; run as a program, since a process that starts ranks computes nothing.

python -m tests.helpers.losses <directory> [--plain] <override> ...    --plain: in Lightning's own loop
"""

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from src.config.command_line import parse
from src.config.compose import preflight
from src.launching.hardware import choose
from src.launching.launchers import LocalProcesses
from src.records.record import Record
from src.training.fit import fit


class Losses(pl.Callback):
    """Keeps train/loss of each chunk; with one step in a chunk, of each step."""

    def __init__(self, accepts_chunks: bool = True) -> None:
        self.accepts_chunks = accepts_chunks
        self.values: list[float] = []

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: object, batch_idx: int
    ) -> None:
        self.values.append(outputs["train/loss"])


def fit_with_losses(config: dict[str, Any], directory: str, accepts_chunks: bool = True) -> None:
    losses = Losses(accepts_chunks)
    result = {**fit(config, directory, [losses]), "losses": losses.values}
    if os.environ["RANK"] == "0":
        Path(directory, "losses.json").write_text(json.dumps(result))


if __name__ == "__main__":
    directory, words = Path(sys.argv[1]), sys.argv[2:]
    [config] = preflight(parse([word for word in words if word != "--plain"]))
    Record.start(directory, sweep=None, config=config, overrides=[], command="", git=None, environment={})
    train = partial(fit_with_losses, config, str(directory), accepts_chunks="--plain" not in words)
    LocalProcesses(choose(config["trainer"])).launch(train, str(directory))
    print("\n" + (directory / "losses.json").read_text())
