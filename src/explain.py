"""Draw which pixels of test images a run's predictions are attributed to.

Each figure is written to ``explanations/`` in the run's directory, and to TensorBoard's Images as
``explain/<method>/<number>``, where it replaces that of an earlier call.

    # The 25 most confident mistakes of the latest finished run
    python -m src.explain latest
    # Images of the test set by number, counted from 0
    python -m src.explain RUN 0 7 100-109
    # Integrated gradients in 500 steps from a black image
    python -m src.explain RUN --mistakes 5 steps=500
    # The gradient at the image instead
    python -m src.explain RUN method=saliency
    # The last weights, with the figures in another folder
    python -m src.explain RUN checkpoint=last -o figures
"""

import argparse
import re

from src.command import (
    CHECKPOINT,
    Setting,
    Settings,
    add_run,
    exit_with,
    help_of,
    needs,
    number_in,
    settings_in,
    status_of,
    storing,
    suggest_settings,
)
from src.errors import ConfigError
from src.parsers import make_parser
from src.paths import shown, user_path
from src.records.find import find_to_rebuild

# Captum computes the points of the integral from a matrix of steps x steps.
_SETTINGS: Settings = {
    "method": Setting(("integrated_gradients", "saliency"), "attribution method"),
    **CHECKPOINT,
    "steps": Setting(range(1, 1001), "steps of the integral, 1 to 1000, for integrated_gradients"),
}
_MISTAKES = 25
_MOST = 200  # all figures are held in memory, half a megabyte each


def main(argv: list[str] | None = None) -> int:
    """Run a command line and return its exit status."""
    args = build_parser().parse_intermixed_args(argv)
    return status_of(lambda: _run(args))


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = make_parser("src.explain", __doc__)
    add_run(parser)
    text = f"Images of the test set by number, such as 7 or 10-19 (default: the most confident mistakes). {help_of(_SETTINGS)}"
    suggest_settings(
        parser.add_argument("words", nargs="*", default=[], metavar="NUMBER|KEY=VALUE", help=text), _SETTINGS
    )
    text = f"Draw the N most confident mistakes, 1 to {_MOST}, if no NUMBER is given (default: {_MISTAKES})."
    parser.add_argument("--mistakes", metavar="N", help=text)
    text = "Write the figures to this folder (default: explanations/ in the run's directory)."
    parser.add_argument("-o", "--output", dest="folder", type=user_path, metavar="FOLDER", help=text)
    return parser


def _run(args: argparse.Namespace) -> None:
    numbers = _numbers_in([word for word in args.words if "=" not in word])
    settings = settings_in([word for word in args.words if "=" in word], _SETTINGS)
    if numbers and args.mistakes is not None:
        raise ConfigError("--mistakes chooses the images itself: leave it or the numbers out.")
    count = _MISTAKES if args.mistakes is None else number_in("--mistakes ", args.mistakes, range(1, _MOST + 1))
    method = settings["method"]
    if method == "saliency" and "steps" in settings:
        raise ConfigError("steps= goes with method=integrated_gradients: saliency is the gradient at one point.")
    needs("src.explain", "captum")
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
