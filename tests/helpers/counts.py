"""How many test samples are counted, and how many are right, on so many ranks: 9,999 of them, which no number here divides.

python -m tests.helpers.counts <ranks> <folder for data>
"""

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from src.config.command_line import parse
from src.config.compose import preflight
from src.data.mnist import MNIST
from src.launching.hardware import choose
from src.launching.launchers import LocalProcesses
from src.training.build import make_task
from src.training.fit import make_trainer


class Shortened(MNIST):
    def load(self, train: bool) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = super().load(train)
        return images[:9999], labels[:9999]


def count(config: dict[str, Any], directory: str) -> None:
    torch.manual_seed(0)
    data = Shortened(**{key: value for key, value in config["data"].items() if key != "_target_"}, seed=0)
    model = make_task(config, data)
    counted = []

    class Count(pl.Callback):
        def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
            samples = pl_module.test_loss.weight.clone()
            if trainer.world_size > 1:
                torch.distributed.all_reduce(samples)
            counted.append(int(samples))

    trainer = make_trainer(config, callbacks=[Count()], logger=False)
    [metrics] = trainer.test(model, datamodule=data, verbose=False)
    if trainer.is_global_zero:
        result = {"samples": counted, "right": round(metrics["test/acc"] * 9999, 3)}
        Path(directory, "count.json").write_text(json.dumps(result))


if __name__ == "__main__":
    [config] = preflight(parse([f"trainer.devices={sys.argv[1]}"]))
    directory = Path(sys.argv[2]) / f"ranks-{sys.argv[1]}"
    directory.mkdir()
    LocalProcesses(choose(config["trainer"])).launch(partial(count, config, str(directory)), str(directory))
    print("\n" + (directory / "count.json").read_text())
