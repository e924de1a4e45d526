"""Evaluate the weights of a run again, and add the result to its record.

Nothing else of the run is changed. ``--robustness`` and ``--calibrate`` also add a figure to the run's TensorBoard, which
replaces that of an earlier call.

    # The best weights of the latest finished run, on the test set
    python -m src.evaluate latest
    # The last weights, on the samples held out of the training set
    python -m src.evaluate RUN checkpoint=last split=val
    # A prototypical network, with 20 support samples of each class
    python -m src.evaluate RUN shots=20
    # Also on corrupted and attacked images
    python -m src.evaluate RUN --robustness
    # Fit a temperature on the held-out samples, and measure with it
    python -m src.evaluate RUN --calibrate
    # Tell its training samples from test samples (membership inference)
    python -m src.evaluate RUN --privacy
    # The entry that is added to the record, as JSON
    python -m src.evaluate RUN --json
"""

import argparse
import json

from src.command import (
    CHECKPOINT,
    Setting,
    Settings,
    add_run,
    add_settings,
    exit_with,
    settings_in,
    status_of,
    storing,
)
from src.parsers import make_parser
from src.records.find import find_to_rebuild

_SETTINGS: Settings = {**CHECKPOINT, "split": Setting(("test", "val"), "samples to measure on")}
# Of the episodes of a prototypical network: settings of the task with the prefix "eval_".
_EPISODES: Settings = {
    "ways": Setting(range(2, 10_001), "classes of an episode (task=prototypical)"),
    "shots": Setting(range(1, 100_001), "support samples of each class"),
    "queries": Setting(range(1, 100_001), "query samples of each class"),
    "episodes": Setting(range(1, 100_001), "episodes"),
}


def main(argv: list[str] | None = None) -> int:
    """Run a command line and return its exit status."""
    args = build_parser().parse_intermixed_args(argv)
    return status_of(lambda: _run(args))


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = make_parser("src.evaluate", __doc__)
    add_run(parser)
    add_settings(parser, {**_SETTINGS, **_EPISODES})
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--robustness",
        action="store_true",
        help="Also measure on images with noise, blur, rotation, shift or erasing, and attacked by FGSM and PGD.",
    )
    kind.add_argument(
        "--calibrate",
        action="store_true",
        help="Fit a temperature for calibrated probabilities on the held-out samples, and measure on the test set.",
    )
    kind.add_argument(
        "--privacy",
        action="store_true",
        help="Membership inference: how well loss and confidence tell training samples from those of split.",
    )
    parser.add_argument("--json", action="store_true", help="Print the entry that is added to the record as JSON.")
    return parser


def _run(args: argparse.Namespace) -> None:
    # A calibration uses both splits.
    allowed = CHECKPOINT if args.calibrate else {**_SETTINGS, **_EPISODES}
    if args.robustness or args.privacy:
        allowed = _SETTINGS
    settings = settings_in(args.settings, allowed)
    changes = {f"eval_{name}": settings.pop(name) for name in _EPISODES if name in settings}
    record = find_to_rebuild(args.run)
    from src.analysis import calibration, evaluation, membership

    measured: calibration.Calibration | membership.Membership | evaluation.Evaluation
    if args.calibrate:
        measured = calibration.measure(record, **settings)
    elif args.privacy:
        measured = membership.measure(record, **settings)
    else:
        measured = evaluation.measure(record, **settings, robustness=args.robustness, changes=changes)
    if args.json:
        print(json.dumps(measured.entry, indent=2))
    else:
        print(f"{record.values['id']} ({settings['checkpoint']} weights)", *measured.lines(), sep="\n")
    with storing("the result is not in the run's record"):
        measured.store(record)


if __name__ == "__main__":
    exit_with(main())
