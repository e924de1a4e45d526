"""Two ranks that count what they say to each other: python -m tests.helpers.collectives FOLDER OVERRIDE..."""

import json
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import psutil
import torch

from src.config.command_line import parse
from src.config.compose import preflight
from src.fast.shared_memory import SharedSum
from src.launching.hardware import choose
from src.launching.launchers import LocalProcesses
from src.records.record import Record
from src.training.fit import fit


class Collectives(pl.Callback):
    """Counts what ranks say to each other in the second epoch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count: Counter[str] = Counter()

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            processes = [psutil.Process(), psutil.Process().parent()]
            ports = [port.laddr.ip for one in processes for port in one.net_connections() if port.status == "LISTEN"]
            (self.folder / "listening.json").write_text(json.dumps(ports))
        for name in ("all_reduce", "broadcast", "all_gather", "barrier", "all_gather_object", "broadcast_object_list"):
            original = getattr(torch.distributed, name)

            def counting(*args: Any, _name: str = name, _original: Any = original, **kwargs: Any) -> Any:
                if trainer.current_epoch == 1 and trainer.state.fn == "fit" and trainer.training:
                    self.count[_name] += 1
                return _original(*args, **kwargs)

            setattr(torch.distributed, name, counting)
        add_up = SharedSum.__call__

        def adding(shared: SharedSum, vector: torch.Tensor) -> None:
            if trainer.current_epoch == 1:
                self.count["shared_sum"] += 1
            add_up(shared, vector)

        SharedSum.__call__ = adding  # type: ignore[method-assign]

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            (self.folder / "collectives.json").write_text(json.dumps(self.count))


def fit_counting(config: dict[str, Any], directory: str) -> dict[str, Any]:
    return fit(config, directory, [Collectives(Path(directory))])


if __name__ == "__main__":
    folder, words = Path(sys.argv[1]), sys.argv[2:]
    [config] = preflight(parse(words))
    Record.start(folder, sweep=None, config=config, overrides=[], command="", git=None, environment={})
    LocalProcesses(choose(config["trainer"])).launch(partial(fit_counting, config, str(folder)), str(folder))
