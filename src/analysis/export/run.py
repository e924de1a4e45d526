"""Export of a run's model to a file."""

import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from src.analysis.export.product import Product, in_float, in_int8
from src.analysis.export.programs import Predictor
from src.data.module import TensorData
from src.errors import UserError
from src.files import replacing
from src.paths import ROOT, shown
from src.records.record import Record
from src.records.summary import summary
from src.training.weights import data_of, trained


def export(record: Record, path: Path, form: str, checkpoint: str = "best") -> Product:
    """Write a run's model to a file.

    Args:
        record: the run.
        path: the file to write.
        form: onnx, pt2, or int8.onnx for int8 weights and activations.
        checkpoint: best or last.

    Raises:
        UserError: the run has no such checkpoint, its network cannot be exported, the exported program's outputs differ,
            or the file cannot be written.
    """
    if not path.parent.is_dir() or path.is_dir():
        raise UserError(f"{path} cannot be written: -o takes a file in a folder that is there.")
    model, config = trained(record, checkpoint)
    data = data_of(config, "test")
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


def store(record: Record, path: Path, form: str, made: Product, checkpoint: str = "best") -> None:
    """Add an export to the run's record.

    Raises:
        OSError: the record cannot be written.
    """
    entry = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "format": form,
        "file": shown(path.absolute(), record.directory),
        "checkpoint": checkpoint,
        "checks": made.checks,
    }
    record.change(lambda run: {"exports": [*run.get("exports", []), entry]})


def _facts(record: Record, checkpoint: str, data: TensorData) -> dict[str, Any]:
    """Metadata of the file."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    run = record.values
    return {
        "run": run["id"],
        "checkpoint": checkpoint,
        "commit": (run["git"] or {}).get("commit") or "",
        "metrics": summary(record).metrics,
        "classes": [str(name) for name in data.class_names],
        "input": {
            "dtype": str(data.test_set[0].dtype).removeprefix("torch."),
            "shape": ["n", *data.input_shape],
            "values": "as the data set has them; mean and std are dealt with inside",
        },
        "project": f"{project['name']} {project['version']}",
        "torch": torch.__version__,
    }
