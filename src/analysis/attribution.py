"""Attribution of a model's predictions for test images to their pixels."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from captum.attr import IntegratedGradients, Saliency  # type: ignore[import-untyped]
from matplotlib.figure import Figure
from matplotlib.image import imsave
from numpy.typing import NDArray
from torch import Tensor

from src.callbacks.after_test import Outcome
from src.callbacks.figures import drawn
from src.data.images import for_drawing, with_channels
from src.errors import ConfigError, UserError
from src.files import replacing
from src.loggers.tensorboard import add_pictures
from src.records.record import Record
from src.tasks.losses import columns, probabilities
from src.tasks.pipeline import Pipeline
from src.training.weights import data_of, trained

# Images per call of Captum, and samples per forward pass: at most as many as in a test.
_IMAGES, _BATCH = 50, 2000


class Explanation(NamedTuple):
    """The attribution of one prediction.

    Attributes:
        number: index of the image in the test set.
        title: the true class, the predicted class and the confidence.
        predicted: name of the predicted class.
        image: uint8 (height, width), or (channels, height, width).
        attribution: (height, width), summed over the channels; in logits for integrated gradients, in logits per raw value for
            saliency.
        difference: logit of the predicted class for the image, minus that for the black baseline.
        gap: convergence delta of integrated gradients, between ``difference`` and the sum of the attributions; ideally 0.
    """

    number: int
    title: str
    predicted: str
    image: Tensor
    attribution: Tensor
    difference: float
    gap: float


def explain(
    record: Record,
    images: int | Sequence[int],
    method: str = "integrated_gradients",
    checkpoint: str = "best",
    steps: int = 200,
) -> list[Explanation]:
    """Attribute a run's predictions for test images to their pixels.

    Args:
        record: the run.
        images: indices of the images, or the number of the most confident mistakes to explain.
        method: integrated_gradients (Sundararajan and others, 2017) or saliency (Simonyan and others, 2013, with its sign).
        checkpoint: best or last.
        steps: points of the integral of integrated gradients.

    Raises:
        ConfigError: an index is out of range.
        UserError: the run has no such checkpoint, its samples are not images, or there are no mistakes.
    """
    model, config = trained(record, checkpoint)
    data = data_of(config, "test")
    # Predicted again, since results.json contains only a few mistakes of the best weights.
    with torch.no_grad():
        logits = torch.cat([model(chunk.inputs) for chunk in data.test_dataloader()])
        black = columns(model(torch.zeros_like(data.test_set[0][:1])))[0]
    outcome = Outcome(probabilities(logits), data.test_set[1], data.test_set[0], list(data.class_names))
    if not outcome.shows_pictures:
        raise UserError(f"{record.values['id']}: its samples are not images, so there is nothing to draw.")
    numbers = torch.tensor(chosen(outcome, images, record.values["id"]))
    classes = outcome.predicted[numbers]
    attributions = with_channels(attribute(model, outcome.inputs[numbers], classes, method, steps)).sum(1)
    differences = columns(logits)[numbers, classes] - black[classes]
    gaps = (attributions.sum((1, 2)) - differences).abs()
    return [
        Explanation(
            number,
            _title(outcome, number),
            outcome.names[int(outcome.predicted[number])],
            outcome.inputs[number],
            *rest,
        )
        for number, *rest in zip(numbers.tolist(), attributions, differences.tolist(), gaps.tolist(), strict=True)
    ]


def chosen(outcome: Outcome, images: int | Sequence[int], run: str) -> Sequence[int]:
    """The indices of the images to explain; for arguments and errors see ``explain``."""
    if isinstance(images, int):
        images = outcome.worst(images)
        if not images:
            raise UserError(f"{run} makes no mistake on the test set: choose images by number, such as 0-9.")
    for number in images:
        if not 0 <= number < len(outcome.labels):
            raise ConfigError(
                f"{number}: the images of the test set are numbered from 0 to {len(outcome.labels) - 1:,}."
            )
    return images


def _title(outcome: Outcome, number: int) -> str:
    true, predicted = (outcome.names[int(classes[number])] for classes in (outcome.labels, outcome.predicted))
    words = f"true {true}" if true == predicted else f"true {true}, predicted {predicted}"
    return f"{words} ({outcome.probabilities[number].max():.1%})"


def attribute(model: Pipeline, images: Tensor, classes: Tensor, method: str, steps: int = 200) -> Tensor:
    """Attribute logits to pixels with Captum.

    Args:
        model: in evaluation mode.
        images: raw images, (n, height, width) or (n, channels, height, width).
        classes: the class of each image whose logit is attributed, int64 (n,).
        method: integrated_gradients or saliency.
        steps: points of the integral from the black baseline to the image, for integrated gradients.

    Returns:
        Attributions of the shape of ``images``, in logits, or for saliency in logits per raw value.
    """

    def score(inputs: Tensor) -> Tensor:
        return columns(model(inputs))

    def attributed(some: Tensor, targets: Tensor) -> Tensor:
        if method == "saliency":
            return Saliency(score).attribute(some.requires_grad_(), target=targets, abs=False)
        return IntegratedGradients(score).attribute(some, 0, target=targets, n_steps=steps, internal_batch_size=_BATCH)

    pieces = zip(images.to(model.dtype).split(_IMAGES), classes.split(_IMAGES), strict=True)
    return torch.cat([attributed(some, targets) for some, targets in pieces]).detach()


def as_lines(explanations: Sequence[Explanation], method: str) -> list[str]:
    """The titles, and the convergence deltas of integrated gradients."""
    lines = [f"  {one.number:>5}  {one.title}" for one in explanations]
    if method == "integrated_gradients":
        worst = max(explanations, key=lambda one: one.gap)
        lines.append(
            "completeness: the largest gap between an image's attributions, added up, and the difference of its logit to a "
            f"black image's is {worst.gap:.1g} (of {worst.difference:.3g}, image {worst.number}); more steps= make it smaller"
        )
    return lines


def draw(explanations: Sequence[Explanation], method: str, checkpoint: str) -> dict[int, NDArray[np.uint8]]:
    """Draw figures (height, width, 3), by the index of the image."""
    return {one.number: drawn(_figure(one, method, checkpoint)) for one in explanations}


def _figure(one: Explanation, method: str, checkpoint: str) -> Figure:
    """Draw the image, and over a pale copy positive attributions in red and negative ones in blue."""
    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    figure.suptitle(one.title)
    left, right = figure.subplots(1, 2)
    left.imshow(for_drawing(one.image).numpy(), cmap="gray", vmin=0, vmax=255)
    left.set_xlabel(f"test image {one.number}")
    strength = one.attribution.abs()
    most = float(strength.max()) or 1.0  # all attributions may be 0
    grey = with_channels(one.image.unsqueeze(0))[0].float().mean(0)
    right.imshow(grey.numpy(), cmap="Greys", vmin=0, vmax=3 * 255)
    overlay = right.imshow(
        one.attribution.numpy(), cmap="seismic", vmin=-most, vmax=most, alpha=(strength / most).sqrt().numpy()
    )
    right.set_xlabel(f"{method.replace('_', ' ')} for {one.predicted}, {checkpoint} weights")
    for panel in (left, right):
        panel.set_xticks([])
        panel.set_yticks([])
    figure.colorbar(overlay, label="logits" if method == "integrated_gradients" else "logits per raw value")
    return figure


def save(figures: Mapping[int, NDArray[np.uint8]], folder: Path, method: str) -> None:
    """Write figures to ``<number>-<method>.png`` in a folder.

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, figure in figures.items():
            with replacing(folder / f"{number:05d}-{method}.png") as file:
                imsave(file, figure, format="png")
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}): choose another folder by -o.") from error


def show(record: Record, figures: Mapping[int, NDArray[np.uint8]], method: str) -> bool:
    """Add figures to the run's TensorBoard; returns False if the run has none.

    Raises:
        OSError: the event file cannot be written.
    """
    tagged = {f"explain/{method}/{number}": figure for number, figure in figures.items()}
    return add_pictures(record, f"explain-{method}", tagged)
