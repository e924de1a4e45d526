"""Train many choices shortly on a number of threads, and print what came out, a line of JSON each.

    python -m tests.helpers.digests THREADS DIRECTORY

A process of its own, because MKL and OpenMP read their settings when torch is loaded.
"""

import contextlib
import hashlib
import io
import json
import sys
from pathlib import Path

import lightning.pytorch as pl
import torch

from src.config.command_line import parse
from src.config.compose import preflight
from src.fast.threads import independent_of_threads
from src.numerics import OFF, strict_mode
from src.records.record import Record
from src.training.fit import fit

# Some hundred steps each. More threads than one take part from 2**15 numbers on, so some batches and layers are large.
CHOICES = [
    "",
    "model.dropout=0.2",
    "model.activation=sigmoid task.loss=squared_error",
    "model.activation=tanh",
    "model.activation=gelu data.train_size=640 data.batch_size=1",
    "model.activation=silu model.dropout=0.3 task.label_smoothing=0.1",
    "model=linear",
    "task.gradient_clip_norm=0.1",
    "task.gradient_clip_norm=0.1 model.dropout=0.1",
    "optimizer=adagrad",
    "optimizer=adamw schedule=one_cycle",
    "optimizer=adam optimizer.fused=false",
    "optimizer=momentum schedule=cosine",
    "optimizer=muon model.dropout=0.1",
    "optimizer=nesterov",
    "optimizer=rmsprop",
    "optimizer=sgd",
    "trainer.precision=64-true",
    "trainer.precision=64-true model.dropout=0.2",
    "data.batch_size=10000 data.train_size=50000",
    "data.batch_size=10000 data.train_size=50000 model.activation=tanh",
    "data.batch_size=10000 data.train_size=50000 model.dropout=0.3",
    "data.batch_size=512 data.train_size=10000 model.hidden=[1024,512] model.activation=gelu",
    "data.augment.shift=1 data.augment.rotation=8 data.augment.elastic=2 data.augment.erasing=0.2",
    "callbacks=[adversarial,ema]",
    "callbacks=[pruning,gradient_norm] callbacks.pruning.amount=0.5",
    "data.batch_size=1111 model.hidden=[333,77] model.activation=silu",
    "data.batch_size=10000 data.train_size=50000 task.loss=squared_error",
    "model.norm=layer",
    "model.norm=batch",
    "trainer.precision=bf16-mixed",
]
SHORT = ["trainer=cpu", "trainer.max_epochs=1", "data.train_size=6400", "callbacks=none", "logger=none"]


class Digest(pl.Callback):
    """Keeps a digest of the weights and the optimizer's state, and whether they should depend on the number of threads."""

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        state = trainer.optimizers[0].state_dict()["state"]
        tensors = [value for entry in state.values() for value in entry.values() if isinstance(value, torch.Tensor)]
        digest = hashlib.sha256()
        for tensor in [*pl_module.parameters(), *tensors]:
            digest.update(tensor.detach().numpy().tobytes())
        self.weights = digest.hexdigest()
        self.independent = independent_of_threads(
            pl_module.net,
            pl_module.loss,
            trainer.optimizers[0],
            trainer.precision_plugin,
            trainer.datamodule.batch_size,
        )


def main(threads: str, directory: str) -> None:
    """Train all of ``CHOICES``."""
    torch.set_num_threads(4 if threads == "auto" else int(threads))
    for number, choice in enumerate(CHOICES):
        words = [*SHORT, *choice.split(), f"trainer.threads={threads}"]
        [config] = preflight(parse(words))
        run = Path(directory, str(number))
        run.mkdir()
        Record.start(run, sweep=None, config=config, overrides=words, command="", git=None, environment={})
        kept = Digest()
        with contextlib.redirect_stdout(io.StringIO()):
            found = fit(config, str(run), [kept])
        entry = {
            "words": choice,
            "weights": kept.weights,
            "metrics": found["metrics"],
            "independent": kept.independent,
            "has_sigmoid": any(word in choice for word in ("sigmoid", "silu", "squared_error")),
            "strict": strict_mode() != OFF,
            "samples_by_threads": found["samples_by_threads"],
        }
        print(json.dumps(entry), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
