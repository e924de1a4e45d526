"""Measure a run's weights again.

    python -m src.evaluate latest                       the latest finished run, its best weights, on the test set
    python -m src.evaluate RUN checkpoint=last          the last weights instead
    python -m src.evaluate RUN split=val                on the samples held out of the training set
    python -m src.evaluate RUN --robustness             on corrupted and attacked images, too
    python -m src.evaluate RUN --calibrate              fit a temperature on the held-out samples, and measure with it
    python -m src.evaluate RUN --json                   for programs

Nothing of the run is changed; the result is added to its record. --robustness and --calibrate also add a figure to its
TensorBoard, where it replaces an earlier one.
"""

import argparse
import json

from src.command import CHECKPOINT, described, exit_with, run_parser, settings_in, status_of, storing
from src.records.find import find_to_rebuild

_CHOICES = {**CHECKPOINT, "split": ("test", "val")}


def main(argv: list[str] | None = None) -> int:
    """Run a command line and return its exit status."""
    parser = run_parser("evaluate", __doc__)
    parser.add_argument("settings", nargs="*", metavar="key=value", help=described(_CHOICES))
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--robustness", action="store_true", help="noise, blur, rotation, shift, erasing, FGSM, PGD")
    kind.add_argument("--calibrate", action="store_true", help="a temperature that makes the confidence believable")
    parser.add_argument("--json", action="store_true", help="print the entry that is added to the record")
    args = parser.parse_intermixed_args(argv)
    return status_of(lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    settings = settings_in(args.settings, CHECKPOINT if args.calibrate else _CHOICES)  # a calibration uses both splits
    record = find_to_rebuild(args.run)
    from src.analysis import calibration, evaluation

    measured = (
        calibration.measure(record, **settings)
        if args.calibrate
        else evaluation.measure(record, **settings, robustness=args.robustness)
    )
    if args.json:
        print(json.dumps(measured.entry, indent=2))
    else:
        print(f"{record.values['id']} ({settings['checkpoint']} weights)", *measured.lines(), sep="\n")
    with storing("the result is not in the run's record"):
        measured.store(record)


if __name__ == "__main__":
    exit_with(main())
