"""Write a finished run's model to a file that runs without this project.

    python -m src.export latest --format onnx           model.onnx, for onnxruntime and many others
    python -m src.export RUN --format pt2               model.pt2, for torch alone
    python -m src.export RUN --format onnx --int8       model.int8.onnx, a quarter of the size
    python -m src.export RUN --format onnx -o FILE checkpoint=last

The file takes raw samples, such as uint8 images (n, 28, 28), and gives the probability of each class, (n, classes). It is
written to the run's directory unless -o names a file, and only if it predicts the checkpoint's classes for the whole test
set; an int8 file may differ, and the number of differences is printed.
"""

import argparse

from src.command import CHECKPOINT, described, exit_with, needs, run_parser, settings_in, status_of, storing
from src.errors import ConfigError
from src.paths import shown, user_path
from src.records.find import find_to_rebuild


def main(argv: list[str] | None = None) -> int:
    """Run a command line and return its exit status."""
    parser = run_parser("export", __doc__)
    parser.add_argument("settings", nargs="*", metavar="key=value", help=described(CHECKPOINT))
    parser.add_argument("--format", required=True, choices=("onnx", "pt2"))
    parser.add_argument("--int8", action="store_true", help="weights and activations in eight bits; onnx only")
    parser.add_argument("-o", dest="file", metavar="FILE", type=user_path, help="model.<format> in the run's directory")
    args = parser.parse_intermixed_args(argv)
    return status_of(lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    settings = settings_in(args.settings, CHECKPOINT)
    if args.int8 and args.format != "onnx":
        raise ConfigError(f"--int8 goes with --format onnx, not {args.format}: it is onnxruntime that quantises.")
    if args.format == "onnx":
        needs("export", "onnx", "onnxscript", "onnxruntime")
    record = find_to_rebuild(args.run)
    from src.analysis.export import run

    form = "int8.onnx" if args.int8 else args.format
    path = args.file or record.directory / f"model.{form}"
    made = run.export(record, path, form, **settings)
    print("\n".join([f"{shown(path.absolute())}: {len(made.content):,} bytes", *made.lines]))
    with storing("the export is not noted in the run's record"):
        run.store(record, path, form, made, **settings)


if __name__ == "__main__":
    exit_with(main())
