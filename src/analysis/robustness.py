"""Accuracy on corrupted images and under adversarial attacks."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypedDict

import lightning.pytorch as pl
import torch
from torch import Tensor

from src.analysis import corruptions
from src.callbacks.figures import drawn
from src.data.chunks import Chunk, ChunkLoader
from src.data.images import are_images
from src.errors import UserError
from src.loggers.tensorboard import add_pictures
from src.randomness import CORRUPTION, seed_step, step_seeds
from src.records.record import Record
from src.tasks import attacks
from src.tasks.losses import predicted
from src.tasks.pipeline import Pipeline

_PGD_STEPS = 20


def _by(corrupt: Callable[[Tensor, float], Tensor]) -> Callable[[Pipeline, Chunk, float], Tensor]:
    return lambda _, chunk, strength: corrupt(chunk.inputs, strength)


def _fgsm(model: Pipeline, chunk: Chunk, epsilon: float) -> Tensor:
    return attacks.fgsm(model, chunk.inputs, chunk.labels, epsilon)


def _pgd(model: Pipeline, chunk: Chunk, epsilon: float) -> Tensor:
    # Steps of 2.5 / 20 can reach any point of the ball from any starting point, as in Madry et al.
    step_size, random = 2.5 * epsilon / _PGD_STEPS, torch.rand(chunk.inputs.shape, device=chunk.inputs.device)
    return attacks.pgd(model, chunk.inputs, chunk.labels, epsilon, steps=_PGD_STEPS, step_size=step_size, random=random)


class _Change(NamedTuple):
    name: str
    apply: Callable[[Pipeline, Chunk, float], Tensor]
    strengths: tuple[float, ...]
    unit: str


_CHANGES = (
    _Change("clean", lambda _, chunk, __: chunk.inputs, (0.0,), ""),
    _Change("noise", _by(corruptions.noise), (0.1, 0.2, 0.4), "deviation, of the range"),
    _Change("blur", _by(corruptions.blur), (1.0, 2.0), "pixels"),
    _Change("rotation", _by(corruptions.rotation), (15.0, 30.0, 45.0), "degrees"),
    _Change("shift", _by(corruptions.shift), (1.0, 2.0, 4.0), "pixels"),
    _Change("erased", _by(corruptions.erased), (7.0, 14.0), "pixels a side"),
    _Change("fgsm", _fgsm, (0.02, 0.05, 0.1, 0.2), "of the range"),
    _Change("pgd", _pgd, (0.02, 0.05, 0.1, 0.2), "of the range"),
)


class Row(TypedDict):
    """The accuracy under one corruption or attack of a ``strength`` in ``unit``."""

    change: str
    strength: float
    unit: str
    acc: float


def measure(model: Pipeline, loader: ChunkLoader, trainer: pl.Trainer, seed: int) -> list[Row]:
    """Measure the accuracy on clean, corrupted and adversarial images (FGSM, and PGD with 20 steps).

    Args:
        model: the model in evaluation mode.
        loader: the samples.
        trainer: the trainer that has evaluated the model, whose precision is used.
        seed: seed of the noise, the erased squares and PGD's random starts.

    Raises:
        UserError: the samples are not images.
    """
    inputs = loader.inputs
    if not are_images(inputs):
        raise UserError(
            f"--robustness changes images with values from 0 to 255, and this run's samples are none ({inputs.dtype}, shape "
            f"{list(inputs.shape[1:])}): leave it out."
        )
    model.to(inputs.device)
    chunks = list(loader)
    with trainer.precision_plugin.forward_context():
        return [
            Row(change=name, strength=strength, unit=unit, acc=_accuracy(model, chunks, apply, strength, seed))
            for name, apply, strengths, unit in _CHANGES
            for strength in strengths
        ]


def _accuracy(
    model: Pipeline,
    chunks: Sequence[Chunk],
    apply: Callable[[Pipeline, Chunk, float], Tensor],
    strength: float,
    seed: int,
) -> float:
    right = 0
    for chunk, drawn_by in zip(chunks, step_seeds(CORRUPTION, seed, 0, 0, len(chunks)), strict=True):
        seed_step(drawn_by, chunk.inputs.device)
        changed = apply(model, chunk, strength)
        with torch.no_grad():
            right += int((predicted(model(changed)) == chunk.labels).sum())
    return right / sum(len(chunk.labels) for chunk in chunks)


def as_lines(rows: Sequence[Row]) -> list[str]:
    """Format rows as a table; no lines if there are no rows."""
    heading = [f"  {'change':<10}{'strength':>8}  {'':<24}accuracy"] if rows else []
    return heading + [f"  {row['change']:<10}{_strength(row):>8}  {row['unit']:<24}{row['acc']:>8.4f}" for row in rows]


def show(record: Record, rows: Sequence[Row], title: str) -> None:
    """Add a bar chart of the rows to the run's TensorBoard, if it has one: image ``robustness``."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 0.25 * len(rows) + 1), layout="constrained")
    axes = figure.subplots()
    names = [f"{row['change']} {_strength(row)}" for row in rows]
    colors = {name: f"C{number}" for number, name in enumerate(change.name for change in _CHANGES)}
    bars = axes.barh(names, [row["acc"] for row in rows], color=[colors[row["change"]] for row in rows])
    axes.bar_label(bars, fmt="%.4f", padding=3, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.12)
    axes.set_xlabel("accuracy")
    axes.set_title(title)
    add_pictures(record, "robustness", {"robustness": drawn(figure)})


def _strength(row: Row) -> str:
    return f"{row['strength']:g}" if row["unit"] else ""
