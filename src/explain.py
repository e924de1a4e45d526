"""Draw which pixels speak for what a run's model says, and which against it.

    python -m src.explain latest                           its worst mistakes on the test set
    python -m src.explain RUN 0 7 100-109                  images of the test set by number, counted from 0
    python -m src.explain RUN --mistakes 5 steps=500       integrated gradients in so many steps from a black image
    python -m src.explain RUN method=saliency              the gradient at the image instead
    python -m src.explain RUN checkpoint=last -o FOLDER    the weights at the end; the pictures elsewhere

RUN is an id, a unique beginning of one, a name, a directory, latest or best. Each picture goes into explanations/ in the
run's directory, and into TensorBoard's Images as explain/<method>/<number>, in place of those of an earlier call.
"""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from src.command import exit_with, needs, settings_in, status_of, storing
from src.errors import ConfigError, UserError
from src.files import is_full, replacing
from src.paths import shown, user_path
from src.records.find import find
from src.records.record import Record
from src.training.weights import trained

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

    from src.callbacks.after_test import Outcome
    from src.tasks.classification import Classifier

FOLDER = "explanations"
_CHOICES = {"method": ("integrated_gradients", "saliency"), "checkpoint": ("best", "last")}
_MISTAKES, _STEPS = 25, 200
# All pictures are held in memory, half a megabyte each; the points of the integral come of a matrix of steps by steps.
_MOST_PICTURES, _MOST_STEPS = 200, 1000
# Images explained at a time, and what goes through the network at a time: no more than in a test.
_IMAGES, _BATCH = 50, 2000


def main(argv: list[str] | None = None) -> int:
    """Run a command line and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m src.explain", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", metavar="RUN")
    parser.add_argument(
        "words",
        nargs="*",
        metavar="NUMBER|key=value",
        help=f"7 or 10-19; method=integrated_gradients|saliency, checkpoint=best|last, steps={_STEPS}",
    )
    parser.add_argument("--mistakes", metavar="N", help=f"the worst so many, where no number is given ({_MISTAKES})")
    parser.add_argument("-o", dest="folder", type=user_path, metavar="FOLDER", help=f"{FOLDER}/ in the run's directory")
    args = parser.parse_intermixed_args(argv)
    return status_of(lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    steps = [word for word in args.words if word.startswith("steps=")]
    numbers = [numbers_in(word) for word in args.words if "=" not in word]
    settings = settings_in([word for word in args.words if "=" in word and word not in steps], _CHOICES)
    if numbers and args.mistakes is not None:
        raise ConfigError("--mistakes chooses the images itself: leave it or the numbers out.")
    if steps and settings["method"] == "saliency":
        raise ConfigError(f"{steps[-1]} goes with method=integrated_gradients: saliency is the gradient at one point.")
    count = _MISTAKES if args.mistakes is None else _count("--mistakes ", args.mistakes, _MOST_PICTURES)
    points = _count("steps=", steps[-1].partition("=")[2], _MOST_STEPS) if steps else _STEPS
    needs("explain", "captum")
    record = find(args.run)
    found = explain(record, numbers or count, steps=points, **settings)
    folder = record.directory / FOLDER if args.folder is None else args.folder
    for one in found:
        print(f"  {one.number:>5}  {one.title}")
    if settings["method"] == "integrated_gradients":
        worst = max(found, key=lambda one: one.gap)
        print(
            "completeness: the largest gap between an image's attributions, added up, and the difference of its logit to a "
            f"black image's is {worst.gap:.1g} (of {worst.difference:.3g}, image {worst.number}); more steps= make it smaller"
        )
    in_tensorboard = keep(record, found, folder, **settings)
    also = f", and explain/{settings['method']}/<number> in TensorBoard" if in_tensorboard else ""
    print(f"{len(found)} picture{'' if len(found) == 1 else 's'} in {shown(folder)}{also}")


def numbers_in(word: str) -> range:
    """What ``7`` or ``10-19`` stands for; a range has its last number in it.

    Raises:
        ConfigError: it is neither.
    """
    match = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", word, re.ASCII)
    numbers = range(int(match[1]), int(match[2] or match[1]) + 1) if match else range(0)
    if not numbers:
        raise ConfigError(f"{word}: images of the test set are chosen by number, such as 7, or 10-19 for ten of them.")
    return numbers


def _count(name: str, word: str, most: int) -> int:
    if not re.fullmatch(r"\d{1,9}", word, re.ASCII) or not 1 <= int(word) <= most:
        raise ConfigError(f"{name}{word} must be a whole number from 1 to {most:,}.")
    return int(word)


class Explanation(NamedTuple):
    """Which pixels speak for the class that was predicted.

    Attributes:
        number: of the image in the test set.
        title: the true class, the predicted one and the confidence.
        predicted: the name of the predicted class.
        image: grey values, uint8 (height, width).
        attribution: (height, width); integrated gradients in logits, saliency in logits a grey value.
        difference: of the predicted class's logits between the image and a black one.
        gap: how far the attributions' sum is from it; of integrated gradients only, for which it should be 0.
    """

    number: int
    title: str
    predicted: str
    image: "Tensor"
    attribution: "Tensor"
    difference: float
    gap: float


def explain(
    record: Record,
    images: int | Sequence[range],
    method: str = "integrated_gradients",
    checkpoint: str = "best",
    steps: int = _STEPS,
) -> list[Explanation]:
    """Explain what a run's model says of test images.

    Args:
        record: the run.
        images: their numbers, or how many of the worst mistakes.
        method: integrated_gradients (Sundararajan and others, 2017) or saliency (Simonyan and others, 2013, with its sign).
        checkpoint: best or last.
        steps: at how many points integrated gradients looks.

    Raises:
        ConfigError: a number that no test image has, or too many of them.
        UserError: the run has no such checkpoint, its samples are no pictures, or there are no mistakes.
    """
    import torch

    from src.callbacks.after_test import Outcome
    from src.config.targets import build
    from src.tasks.losses import columns, probabilities

    model, config = trained(record, checkpoint)
    data = build(config["data"], "data", seed=config["seed"])
    data.prepare_data()
    data.setup("test")
    # Anew, since what the test left in results.json is of the best weights and of a few mistakes.
    with torch.no_grad():
        logits = torch.cat([model(chunk.inputs) for chunk in data.test_dataloader()])
        black = columns(model(torch.zeros_like(data.test_set[0][:1])))[0]
    outcome = Outcome(probabilities(logits), data.test_set[1], data.test_set[0], list(data.class_names))
    if not outcome.shows_pictures:
        raise UserError(f"{record.values['id']}: its samples are no grey pictures, so there is nothing to draw.")
    chosen = torch.tensor(_chosen(outcome, images, record.values["id"]))
    said = outcome.predicted[chosen]
    attributions = attribute(model, outcome.inputs[chosen], said, method, steps)
    differences = columns(logits)[chosen, said] - black[said]
    gaps = (attributions.sum((1, 2)) - differences).abs()
    return [
        Explanation(
            number,
            _title(outcome, number),
            outcome.names[int(outcome.predicted[number])],
            outcome.inputs[number],
            *rest,
        )
        for number, *rest in zip(chosen.tolist(), attributions, differences.tolist(), gaps.tolist(), strict=True)
    ]


def _chosen(outcome: "Outcome", images: int | Sequence[range], id: str) -> list[int]:
    if isinstance(images, int):
        if not (worst := outcome.worst(images)):
            raise UserError(f"{id} makes no mistake on the test set: choose images by number, such as 0-9.")
        return worst
    last = len(outcome.labels) - 1
    for numbers in images:
        if numbers[-1] > last:
            raise ConfigError(f"{numbers[-1]}: the images of the test set are numbered from 0 to {last:,}.")
    chosen = list(dict.fromkeys(number for numbers in images for number in numbers))
    if len(chosen) > _MOST_PICTURES:
        raise ConfigError(f"{len(chosen):,} images are too many to draw: choose {_MOST_PICTURES:,} at most.")
    return chosen


def _title(outcome: "Outcome", number: int) -> str:
    true, said = (outcome.names[int(classes[number])] for classes in (outcome.labels, outcome.predicted))
    words = f"true {true}" if true == said else f"true {true} taken for {said}"
    return f"{words}, {outcome.chances[number].max():.1%} sure"


def attribute(model: "Classifier", images: "Tensor", classes: "Tensor", method: str, steps: int = _STEPS) -> "Tensor":
    """How much each pixel speaks for a class, by Captum.

    Args:
        model: set to evaluation.
        images: raw grey values, (n, height, width).
        classes: of each image the one that is asked about, int64 (n,).
        method: integrated_gradients or saliency.
        steps: for integrated gradients, how many points there are from black to the image.

    Returns:
        (n, height, width), in logits, or for saliency in logits a grey value.
    """
    import torch
    from captum.attr import IntegratedGradients, Saliency  # type: ignore[import-untyped]

    from src.tasks.losses import columns

    def score(inputs: "Tensor") -> "Tensor":
        return columns(model(inputs))

    def explained(some: "Tensor", of: "Tensor") -> "Tensor":
        if method == "saliency":
            return Saliency(score).attribute(some.requires_grad_(), target=of, abs=False)
        return IntegratedGradients(score).attribute(some, 0, target=of, n_steps=steps, internal_batch_size=_BATCH)

    pieces = zip(images.to(model.dtype).split(_IMAGES), classes.split(_IMAGES), strict=True)
    return torch.cat([explained(some, of) for some, of in pieces]).detach()


def draw(one: Explanation, method: str, checkpoint: str) -> "Figure":
    """The image, and over a pale copy of it what speaks for the predicted class in red, what against it in blue."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    figure.suptitle(one.title)
    left, right = figure.subplots(1, 2)
    left.imshow(one.image.numpy(), cmap="gray", vmin=0, vmax=255)
    left.set_xlabel(f"test image {one.number}")
    strength = one.attribution.abs()
    most = float(strength.max()) or 1.0  # without any, nothing is coloured
    right.imshow(one.image.numpy(), cmap="Greys", vmin=0, vmax=3 * 255)
    overlay = right.imshow(
        one.attribution.numpy(), cmap="seismic", vmin=-most, vmax=most, alpha=(strength / most).sqrt().numpy()
    )
    right.set_xlabel(f"{method.replace('_', ' ')} for {one.predicted}, {checkpoint} weights")
    for panel in (left, right):
        panel.set_xticks([])
        panel.set_yticks([])
    figure.colorbar(overlay, label="logits" if method == "integrated_gradients" else "logits a grey value")
    return figure


def keep(record: Record, found: Sequence[Explanation], folder: Path, method: str, checkpoint: str) -> bool:
    """Draw explanations into files and into TensorBoard; returns whether the run has any TensorBoard.

    Raises:
        UserError: the folder or the run's TensorBoard cannot be written.
    """
    from matplotlib.image import imsave

    from src.callbacks.figures import drawn
    from src.loggers.tensorboard import add_pictures, has_tensorboard

    pictures = {one.number: drawn(draw(one, method, checkpoint)) for one in found}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, picture in pictures.items():
            with replacing(folder / f"{number:05d}-{method}.png") as file:
                imsave(file, picture, format="png")
    except OSError as error:
        if is_full(error):
            raise
        raise UserError(f"{folder} cannot be written ({error.strerror}): choose another folder by -o.") from error
    if there := has_tensorboard(record):
        tagged = {f"explain/{method}/{number}": picture for number, picture in pictures.items()}
        with storing(f"the pictures are in {shown(folder)}, but not in TensorBoard"):
            add_pictures(record, f"explain-{method}", tagged)
    return there


if __name__ == "__main__":
    exit_with(main())
