"""Draw which pixels a run's prediction for test images is attributed to.

    python -m src.explain latest                           its most confident mistakes on the test set
    python -m src.explain RUN 0 7 100-109                  images of the test set by number, counted from 0
    python -m src.explain RUN --mistakes 5 steps=500       integrated gradients in 500 steps from a black image
    python -m src.explain RUN method=saliency              the gradient at the image instead
    python -m src.explain RUN checkpoint=last -o FOLDER    the last weights; the figures elsewhere

Each figure is written to explanations/ in the run's directory, and to TensorBoard's Images as explain/<method>/<number>,
where it replaces those of an earlier call.
"""

import argparse
import re

from src.command import CHECKPOINT, described, exit_with, needs, number_in, run_parser, settings_in, status_of, storing
from src.errors import ConfigError
from src.paths import shown, user_path
from src.records.find import find_to_rebuild

# Captum computes the points of the integral from a matrix of steps x steps.
_CHOICES = {"method": ("integrated_gradients", "saliency"), **CHECKPOINT, "steps": range(1, 1001)}
_MISTAKES = 25
_MOST = 200  # all figures are held in memory, half a megabyte each


def main(argv: list[str] | None = None) -> int:
    """Run a command line and return its exit status."""
    parser = run_parser("explain", __doc__)
    parser.add_argument("words", nargs="*", metavar="NUMBER|key=value", help=f"7 or 10-19; {described(_CHOICES)}")
    parser.add_argument("--mistakes", metavar="N", help=f"the N most confident, where no number is given ({_MISTAKES})")
    parser.add_argument(
        "-o", dest="folder", type=user_path, metavar="FOLDER", help="explanations/ in the run's directory"
    )
    args = parser.parse_intermixed_args(argv)
    return status_of(lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    numbers = _numbers_in([word for word in args.words if "=" not in word])
    settings = settings_in([word for word in args.words if "=" in word], _CHOICES)
    if numbers and args.mistakes is not None:
        raise ConfigError("--mistakes chooses the images itself: leave it or the numbers out.")
    count = _MISTAKES if args.mistakes is None else number_in("--mistakes ", args.mistakes, range(1, _MOST + 1))
    method = settings["method"]
    if method == "saliency" and "steps" in settings:
        raise ConfigError("steps= goes with method=integrated_gradients: saliency is the gradient at one point.")
    needs("explain", "captum")
    record = find_to_rebuild(args.run)
    from src.analysis import attribution

    found = attribution.explain(record, numbers or count, **settings)
    print("\n".join(attribution.as_lines(found, method)))
    figures = attribution.draw(found, method, settings["checkpoint"])
    folder = args.folder or record.directory / "explanations"
    attribution.save(figures, folder, method)
    with storing(f"the images are in {shown(folder)}, but not in TensorBoard"):
        in_tensorboard = attribution.show(record, figures, method)
    also = f", and explain/{method}/<number> in TensorBoard" if in_tensorboard else ""
    print(f"{len(found)} image{'' if len(found) == 1 else 's'} in {shown(folder)}{also}")


def _numbers_in(words: list[str]) -> list[int]:
    """Parse image indices and ranges such as ``7`` and ``10-19``, without duplicates."""
    numbers: dict[int, None] = {}
    for word in words:
        match = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", word, re.ASCII)
        named = range(int(match[1]), int(match[2] or match[1]) + 1) if match else range(0)
        if not named:
            raise ConfigError(f"{word}: images of the test set are chosen by number, such as 7, or 10-19 for ten.")
        numbers |= dict.fromkeys(named[: _MOST + 1])
    if len(numbers) > _MOST:
        raise ConfigError(f"{' '.join(words)}: these are too many images to draw; choose {_MOST} at most.")
    return list(numbers)


if __name__ == "__main__":
    exit_with(main())
