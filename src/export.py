"""Export a run's model to a file that runs without this project.

The model takes raw samples, such as uint8 images (n, 28, 28), and returns the probability of each class, (n, classes). The
file is written only if it predicts the checkpoint's classes for the whole test set; an int8 file may differ, and the number
of differences is printed.

    # model.onnx in the run's directory, for ONNX Runtime
    python -m src.export latest --format onnx
    # model.pt2, for torch alone
    python -m src.export RUN --format pt2
    # model.int8.onnx, a quarter of the size
    python -m src.export RUN --format onnx --int8
    # The last weights, to another file
    python -m src.export RUN --format onnx -o digits.onnx checkpoint=last
"""

import argparse

from src.command import (
    CHECKPOINT,
    add_run,
    add_settings,
    exit_with,
    needs,
    settings_in,
    status_of,
    storing,
)
from src.errors import ConfigError
from src.parsers import make_parser
from src.paths import shown, user_path
from src.records.find import find_to_rebuild


def main(argv: list[str] | None = None) -> int:
    """Run a command line and return its exit status."""
    args = build_parser().parse_intermixed_args(argv)
    return status_of(lambda: _run(args))


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = make_parser("src.export", __doc__)
    add_run(parser)
    add_settings(parser, CHECKPOINT)
    text = "Format of the file: onnx (ONNX) or pt2 (torch.export). Required."
    parser.add_argument("--format", required=True, choices=("onnx", "pt2"), help=text)
    parser.add_argument(
        "--int8", action="store_true", help="Quantize weights and activations to 8 bits; for onnx only."
    )
    text = "Write the model to this file (default: model.<format> in the run's directory)."
    parser.add_argument("-o", "--output", dest="file", metavar="FILE", type=user_path, help=text)
    return parser


def _run(args: argparse.Namespace) -> None:
    settings = settings_in(args.settings, CHECKPOINT)
    if args.int8 and args.format != "onnx":
        raise ConfigError(f"--int8 goes with --format onnx, not {args.format}: it is onnxruntime that quantises.")
    if args.format == "onnx":
        needs("--format onnx", "onnx", "onnxscript", "onnxruntime")
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
