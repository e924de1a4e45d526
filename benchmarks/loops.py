"""Reference loops with the network, optimizer, batches and data of experiment=article.

They are frozen: slowing one down would distort every comparison. They log nothing and compute no metrics unless stated.
"""

import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

BATCH = 64
DATA = Path(__file__).parents[1] / "data"


def network() -> nn.Sequential:
    """784-128-64-10 with ReLU."""
    return nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))


def scaled(data: datasets.MNIST) -> tuple[Tensor, Tensor]:
    """All images as float32 in [-1, 1] of shape (n, 784), and their labels."""
    return data.data.flatten(1).float().div_(127.5).sub_(1), data.targets


def reference(epochs: int, val_size: int = 0, checkpoint: Path | None = None) -> list[float]:
    """Reference loop over indexed, pre-scaled tensors with Adam(fused=True). Returns the seconds of each epoch.

    With ``val_size`` held-out images and a ``checkpoint`` path, every epoch includes validation and a checkpoint, and the
    last one the test.
    """
    images, digits = scaled(datasets.MNIST(DATA, train=True))
    kept = len(images) - val_size
    model, criterion = network(), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    seconds = []
    for epoch in range(epochs):
        start = time.perf_counter()
        for batch in torch.randperm(kept).split(BATCH):
            optimizer.zero_grad()
            criterion(model(images[batch]), digits[batch]).backward()
            optimizer.step()
        if checkpoint is not None:
            evaluate(model, images[kept:], digits[kept:])
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, checkpoint)
            if epoch == epochs - 1:
                evaluate(model, *scaled(datasets.MNIST(DATA, train=False)))
        seconds.append(time.perf_counter() - start)
    return seconds


def reference_flushed(epochs: int) -> list[float]:
    """Reference loop with subnormal numbers flushed to zero, which is not torch's default."""
    torch.set_flush_denormal(True)
    return reference(epochs)


def reference_validated(epochs: int) -> list[float]:
    """Reference loop with 5,000 held-out images, validation and a checkpoint after every epoch, and a final test."""
    with tempfile.TemporaryDirectory() as directory:
        return reference(epochs, val_size=5000, checkpoint=Path(directory, "model.pt"))


def evaluate(model: nn.Module, images: Tensor, digits: Tensor) -> tuple[float, float]:
    """Loss and accuracy."""
    with torch.no_grad():
        logits = model(images)
        loss = nn.functional.cross_entropy(logits, digits).item()
    return loss, (logits.argmax(1) == digits).float().mean().item()


def tutorial(epochs: int) -> list[float]:
    """Typical tutorial: a DataLoader that applies ToTensor and Normalize to each image. Returns the seconds of each epoch."""
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])
    loader = DataLoader(datasets.MNIST(DATA, train=True, transform=transform), batch_size=BATCH, shuffle=True)
    model, criterion = network(), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    seconds = []
    for _ in range(min(epochs, 3)):  # an epoch takes ten times as long as the others'
        start = time.perf_counter()
        for images, digits in loader:
            optimizer.zero_grad()
            criterion(model(images.flatten(1)), digits).backward()
            optimizer.step()
        seconds.append(time.perf_counter() - start)
    return seconds
