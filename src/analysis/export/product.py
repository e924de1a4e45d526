"""Exported files: their content, with the results of their comparison with the model."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from src.analysis.export.compare import BATCH_SIZES, BATCHES, Comparison, Latency, compare, latencies
from src.analysis.export.programs import Predictor, onnx_file, onnx_of, open_onnx, open_original, open_pt2, pt2_file
from src.data.module import TensorData
from src.errors import UserError

# Tolerance of the probabilities for rounding; a program that computes something else differs by far more.
_ROUNDING = 1e-3


class Product(NamedTuple):
    """Content of an exported file.

    Attributes:
        content: the bytes of the file.
        checks: results of the comparison with the model, as plain data.
        lines: the results as text.
    """

    content: bytes
    checks: dict[str, Any]
    lines: list[str]


def in_float(form: str, predictor: Predictor, data: TensorData, facts: Mapping[str, Any]) -> Product:
    """Export in floating point, and check that the predictions equal those of the model.

    Args:
        form: onnx or pt2.
        predictor: the model.
        data: the data set of the model, set up for a test.
        facts: metadata of the file.

    Raises:
        UserError: the network cannot be exported, or the predictions of the exported program differ.
    """
    samples, labels = (tensor.numpy() for tensor in data.test_set)
    example = torch.zeros(2, *data.input_shape, dtype=data.test_set[0].dtype)
    try:
        if form == "onnx":
            content = onnx_file(onnx_of(predictor, example), facts)
            program = open_onnx(content)
        else:
            content = pt2_file(predictor, example, facts)
            program = open_pt2(content)
        found = compare(program, open_original(predictor), samples, labels)
    except Exception as error:  # exporters may raise anything for a custom network
        first = _first(error)
        cause = str(first).strip().partition("\n")[0]
        raise UserError(f"the network cannot be exported to {form} ({type(first).__name__}: {cause}).") from error
    if found.differ or not found.largest <= _ROUNDING:
        raise UserError(
            f"nothing was written: for {found.differ:,} of {found.samples:,} test samples the exported program names "
            f"another class than the checkpoint, and a probability differs by {found.largest:.2g}."
        )
    return Product(content, _checks(found), [_said(found)])


def in_int8(predictor: Predictor, data: TensorData, facts: Mapping[str, Any]) -> Product:
    """Export to ONNX in int8, and measure accuracy, size and latency compared with floating point.

    Ranges are calibrated and the setting is selected on the validation samples, or on training samples if there are none; never
    on test samples. For the arguments see ``in_float``.

    Raises:
        UserError: see ``in_float``; or the network has no operator that can be quantised.
    """
    import onnx

    from src.analysis.export.int8 import CALIBRATION_SAMPLES, SETTINGS, best_of

    before = in_float("onnx", predictor, data, facts)
    data.setup("validate")
    kind, known = ("held-out", data.val_set) if data.val_size else ("training", data.train_set)
    model, best, trials = best_of(
        onnx.load_from_string(before.content), *(tensor[:CALIBRATION_SAMPLES].numpy() for tensor in known)
    )
    count = min(CALIBRATION_SAMPLES, len(known[1]))
    how = f"{best.setting}; calibrated on {count:,} {kind} samples"
    content = onnx_file(model, {**facts, "quantisation": how})
    samples, labels = (tensor.numpy() for tensor in data.test_set)
    programs = [open_onnx(before.content), open_onnx(content)]
    found = compare(programs[1], open_original(predictor), samples, labels)
    times = {size: latencies(programs, samples, size) for size in BATCHES}
    checks = {
        **_checks(found),
        "float": before.checks,
        "calibration": f"{count} {kind} samples",
        "trials": [
            {**trial.setting._asdict(), "accuracy": trial.accuracy, "distance": trial.distance} for trial in trials
        ],
        "milliseconds": {
            str(size): {"float": both[0]._asdict(), "int8": both[1]._asdict()} for size, both in times.items()
        },
    }
    lines = [_said(found), f"{how}; the best of {len(SETTINGS)} settings on these, accuracy {best.accuracy:.4f}", ""]
    return Product(content, checks, [*lines, *_table(before, content, found, times)])


def _first(error: BaseException) -> BaseException:
    """The first cause of an error, which the exporters wrap in advice for developers."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _checks(found: Comparison) -> dict[str, Any]:
    return {**found._asdict(), "batch_sizes": list(BATCH_SIZES)}


def _said(found: Comparison) -> str:
    *sizes, last = (f"{size:,}" for size in BATCH_SIZES)
    classes = f"another class than the checkpoint for {found.differ:,}" if found.differ else "the checkpoint's classes"
    return (
        f"all {found.samples:,} test samples in batches of {', '.join(sizes)} and {last}: {classes}, "
        f"probabilities within {found.largest:.2g}"
    )


def _table(before: Product, content: bytes, found: Comparison, times: Mapping[int, list[Latency]]) -> list[str]:
    """Table of accuracy, size and latency in floating point and int8."""
    rows = [
        ("", "float", "int8"),
        ("test/acc", f"{before.checks['accuracy']:.4f}", f"{found.accuracy:.4f}"),
        ("bytes", f"{len(before.content):,}", f"{len(content):,}"),
        *((f"ms, {size} at once", *(_spread(one) for one in both)) for size, both in times.items()),
    ]
    return [f"{name:<16}{one:<26}{other}".rstrip() for name, one, other in rows] + [
        "ms: median (5th to 95th percentile) on one thread"
    ]


def _spread(time: Latency) -> str:
    return f"{time.median:.3f} ({time.low:.3f} to {time.high:.3f})"
