"""Write a finished run's model to a file that runs without this project.

    python -m src.export latest --format onnx           model.onnx, for onnxruntime and many others
    python -m src.export RUN --format pt2               model.pt2, for torch alone
    python -m src.export RUN --format onnx --int8       model.int8.onnx, a quarter of the size
    python -m src.export RUN --format onnx -o FILE checkpoint=last

RUN is an id, a unique beginning of one, a name, a directory, latest or best. The file takes raw samples, such as uint8
images (n, 28, 28), and gives the probability of each class, (n, classes). It goes into the run's directory unless -o
names a place, and only once it has named the checkpoint's classes for the whole test set; int8 may err, and says how often.
"""

import argparse
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.command import exit_with, needs, settings_in, status_of, storing
from src.errors import ConfigError, UserError
from src.files import replacing
from src.paths import ROOT, shown, user_path
from src.records.find import find
from src.records.record import Record
from src.training.weights import trained

if TYPE_CHECKING:
    from src.analysis.export.product import Product
    from src.data.module import TensorData

FORMATS = ("onnx", "pt2")
_CHOICES = {"checkpoint": ("best", "last")}


def main(argv: list[str] | None = None) -> int:
    """Run a command line and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m src.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="checkpoint=best|last")
    parser.add_argument("--format", required=True, choices=FORMATS)
    parser.add_argument("--int8", action="store_true", help="weights and activations in eight bits; onnx only")
    parser.add_argument("-o", dest="file", metavar="FILE", type=user_path, help="model.<format> in the run's directory")
    args = parser.parse_intermixed_args(argv)
    return status_of(lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    settings = settings_in(args.settings, _CHOICES)
    if args.int8 and args.format != "onnx":
        raise ConfigError(f"--int8 goes with --format onnx, not {args.format}: it is onnxruntime that quantises.")
    if args.format == "onnx":
        needs("export", "onnx", "onnxscript", "onnxruntime")
    record = find(args.run)
    form = "int8.onnx" if args.int8 else args.format
    path = args.file or record.directory / f"model.{form}"
    if not path.parent.is_dir() or path.is_dir():
        raise UserError(f"{path} cannot be written: -o takes a file in a folder that is there.")
    made = export(record, path, form, **settings)
    print("\n".join([f"{shown(path.absolute())}: {len(made.content):,} bytes", *made.lines]))
    entry = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "format": form,
        "file": shown(path.absolute(), record.directory),
        "checkpoint": settings["checkpoint"],
        "checks": made.checks,
    }
    with storing("the export is not noted in the run's record"):
        record.change(lambda run: {"exports": [*run.get("exports", []), entry]})


def export(record: Record, path: Path, form: str, checkpoint: str = "best") -> "Product":
    """Write a run's model to a file.

    Args:
        record: the run.
        path: the file.
        form: onnx, pt2, or int8.onnx for weights and activations in eight bits.
        checkpoint: best or last.

    Returns:
        What was written, and how it was checked.

    Raises:
        UserError: the run has no such checkpoint, its network cannot be exported, what was exported answers differently,
            or the file cannot be written.
    """
    from src.analysis.export.product import in_float, in_int8
    from src.analysis.export.programs import Predictor
    from src.config.targets import build

    model, config = trained(record, checkpoint)
    data: TensorData = build(config["data"], "data", seed=config["seed"])
    data.prepare_data()
    data.setup("test")
    predictor, facts = Predictor(model), _facts(record, checkpoint, data)
    made = in_int8(predictor, data, facts) if form == "int8.onnx" else in_float(form, predictor, data, facts)
    try:
        with replacing(path) as file:
            file.write(made.content)
    except OSError as error:
        raise UserError(
            f"{error.filename or path} cannot be written ({error.strerror}): nothing was exported; -o names another file."
        ) from error
    return made


def _facts(record: Record, checkpoint: str, data: "TensorData") -> dict[str, Any]:
    """What the file says about itself."""
    import torch

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    run = record.values
    return {
        "run": run["id"],
        "checkpoint": checkpoint,
        "commit": (run["git"] or {}).get("commit") or "",
        "metrics": run["metrics"],
        "classes": [str(name) for name in data.class_names],
        "input": {
            "dtype": str(data.test_set[0].dtype).removeprefix("torch."),
            "shape": ["n", *data.input_shape],
            "values": "as the data set has them; mean and std are dealt with inside",
        },
        "project": f"{project['name']} {project['version']}",
        "torch": torch.__version__,
    }


if __name__ == "__main__":
    exit_with(main())
