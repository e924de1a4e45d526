"""Compare seconds per epoch on an NVIDIA GPU: this project, with and without CUDA graphs, a reference loop, and the processor.

The contenders alternate in this process, and ratios are computed within each round. The first epoch of every turn is a warm-up
and is not measured.

    # Five rounds at the article's batch size
    python -m benchmarks.gpu
    # A batch of 4,096
    python -m benchmarks.gpu --batch-size 4096
"""

from benchmarks.ours import ours  # sets the environment that torch reads when it is imported

# isort: split
import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from unittest import mock

import torch
from torch import nn
from torchvision import datasets

from benchmarks.arguments import add_epochs, add_rounds
from benchmarks.loops import DATA, network, scaled
from src.fast.steps import Steps
from src.parsers import make_parser


def reference(epochs: int, batch_size: int) -> list[float]:
    """The loop of benchmarks.loops with images, network and optimizer on the GPU. Returns the seconds of each epoch."""
    images, digits = (tensor.cuda() for tensor in scaled(datasets.MNIST(DATA, train=True)))
    model, criterion = network().cuda(), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    seconds = []
    for _ in range(epochs):
        start = time.perf_counter()
        for batch in torch.randperm(len(images), device="cuda").split(batch_size):
            optimizer.zero_grad()
            criterion(model(images[batch]), digits[batch]).backward()
            optimizer.step()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return seconds


def without_graphs(epochs: int, *overrides: str) -> list[float]:
    """This project, with every step launched individually. Returns the seconds of each epoch."""
    with mock.patch.object(Steps, "_make_graph", return_value=None):
        return ours(epochs, *overrides)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = make_parser("benchmarks.gpu", __doc__)
    add_rounds(parser, 5)
    add_epochs(parser, 4)
    parser.add_argument("--batch-size", type=int, default=64, metavar="N", help="Samples per step (default: 64).")
    return parser


def main() -> None:
    """Run the rounds and print the medians."""
    args = build_parser().parse_args()
    epochs, size = args.epochs + 1, f"data.batch_size={args.batch_size}"
    contenders: dict[str, Callable[[], list[float]]] = {
        "reference loop": partial(reference, epochs, args.batch_size),
        "CUDA graphs": partial(ours, epochs, "trainer=gpu", size),
        "step by step": partial(without_graphs, epochs, "trainer=gpu", size),
        "autograd (dropout)": partial(ours, epochs, "trainer=gpu", size, "model.dropout=0.1"),
        "processor": partial(ours, epochs, size),
    }
    rounds: list[dict[str, float]] = []
    for number in range(args.rounds):
        names = list(contenders) if number % 2 else list(reversed(contenders))
        rounds.append({name: statistics.mean(contenders[name]()[1:]) for name in names})
    print(f"{torch.cuda.get_device_name()}, batches of {args.batch_size}, {args.rounds} rounds")
    print(f"{'':20} seconds  / reference loop")
    for name in contenders:
        seconds = statistics.median(one[name] for one in rounds)
        ratios = sorted(one[name] / one["reference loop"] for one in rounds)
        print(f"{name:20} {seconds:7.3f}  {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()
