"""Compare seconds per epoch with a reference loop, for different models, losses, optimizers and schedules.

The reference is a plain loop with the same modules, loss, optimizer and schedule over indexed, pre-scaled tensors. It flushes
subnormals as this project does, computes no metrics and saves no checkpoints. The contenders alternate.

    # Three rounds, about ten minutes
    python -m benchmarks.choices
    # Five rounds, as JSON
    python -m benchmarks.choices --rounds 5 --json
"""

import argparse
import json
import statistics
import time

import torch
from rich.console import Console
from rich.table import Table
from torchvision import datasets

from benchmarks.arguments import add_epochs, add_json, add_rounds, add_threads
from benchmarks.loops import DATA, scaled
from benchmarks.turns import take_turn
from src.config.command_line import parse
from src.config.compose import preflight
from src.config.targets import build
from src.data.mnist import MNIST
from src.parsers import make_parser
from src.tasks.classification import Classifier
from src.training.build import make_task

CHOICES = (
    "optimizer=adam",
    "model.hidden=[512,256]",
    "model.activation=gelu",
    "model.dropout=0.2",
    "model.norm=batch",
    "model.norm=layer",
    "task.loss=squared_error",
    "task.label_smoothing=0.1",
    "task.gradient_clip_norm=1",
    "optimizer=sgd",
    "optimizer=adamw",
    "optimizer=muon",
    "schedule=cosine",
    "schedule=one_cycle",
)


def reference(epochs: int, choice: str) -> list[float]:
    """Seconds of each epoch of the plain loop, with torch's defaults but for subnormals, since this module imports torch before
    ``src``.
    """
    torch.set_flush_denormal(True)
    [config] = preflight(parse(["experiment=article", "trainer=cpu", f"trainer.max_epochs={epochs}", choice]))
    images, digits = scaled(datasets.MNIST(DATA, train=True))
    model = make_task(config, MNIST(dir=str(DATA)))
    assert isinstance(model, Classifier)
    net, loss, batch_size = model.net, model.loss, config["data"]["batch_size"]
    optimizer = build(config["optimizer"], "optimizer", net.parameters())
    steps = -(-len(digits) // batch_size)
    schedule = build(
        config["schedule"], "schedule", optimizer, supplied={"steps_per_epoch": steps, "max_epochs": epochs}
    )
    seconds = []
    for _ in range(epochs):
        start = time.perf_counter()
        for batch in torch.randperm(len(digits)).split(batch_size):
            optimizer.zero_grad()
            (loss(net(images[batch]), digits[batch]) / len(batch)).backward()
            if model.gradient_clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(net.parameters(), model.gradient_clip_norm)
            optimizer.step()
            if schedule is not None:
                schedule.step()
        seconds.append(time.perf_counter() - start)
    return seconds


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = make_parser("benchmarks.choices", __doc__)
    add_rounds(parser, 3)
    add_epochs(parser, 2)
    add_threads(parser, torch.get_num_threads())
    add_json(parser, "the rounds")
    return parser


def main() -> None:
    """Run the rounds and print the medians."""
    args = build_parser().parse_args()
    MNIST(dir=str(DATA)).prepare_data()
    rounds = [
        {
            choice: [
                statistics.mean(take_turn(function, args.epochs + 1, choice, threads=args.threads)[1:])
                for function in ("benchmarks.ours:ours", "benchmarks.choices:reference")
            ]
            for choice in CHOICES
        }
        for _ in range(args.rounds)
    ]
    if args.json:
        print(json.dumps(rounds))
        return
    table = Table(
        "choice", "seconds", "reference", "ratio", "min", "max", title=f"{args.rounds} rounds, {args.threads} threads"
    )
    for choice in CHOICES:
        mine, other = zip(*(one[choice] for one in rounds), strict=True)
        ratios = [a / b for a, b in zip(mine, other, strict=True)]
        figures = statistics.median(mine), statistics.median(other), statistics.median(ratios), min(ratios), max(ratios)
        table.add_row(choice, *(f"{figure:.2f}" for figure in figures))
    Console().print(table)


if __name__ == "__main__":
    main()
