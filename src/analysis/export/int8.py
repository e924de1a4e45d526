"""Weights and the inputs of the layers in eight bits, by onnxruntime's static quantisation."""

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.analysis.export.compare import answers
from src.analysis.export.programs import INPUT, onnx_file, open_onnx
from src.analysis.export.quiet import quietly
from src.errors import UserError

if TYPE_CHECKING:
    from onnx import ModelProto

# More do not change the ranges by much.
CALIBRATION_SAMPLES = 5000
_BATCH = 500
# What costs the time and the bytes. The rest, the softmax above all, would lose precision and gain nothing.
_QUANTISED = ["Gemm", "MatMul", "Conv"]


class Setting(NamedTuple):
    """One way to quantise.

    Attributes:
        weights: one scale ``per tensor`` or ``per channel``.
        activations: ``QUInt8`` (0 to 255) or ``QInt8`` (-128 to 127).
        ranges: of the activations, by ``MinMax`` or by ``Percentile``, which leaves the outermost values out.
    """

    weights: str
    activations: str
    ranges: str

    def __str__(self) -> str:
        return f"weights QInt8 {self.weights}, activations {self.activations}, ranges {self.ranges}"


SETTINGS = [
    Setting(*choice)
    for choice in itertools.product(("per tensor", "per channel"), ("QUInt8", "QInt8"), ("MinMax", "Percentile"))
]


class Trial(NamedTuple):
    """What came of a setting, on the calibration samples.

    Attributes:
        setting: see ``Setting``.
        accuracy: of the quantised program.
        distance: mean difference of its probabilities from those of the program in floating point.
    """

    setting: Setting
    accuracy: float
    distance: float


def best_of(
    model: "ModelProto", samples: NDArray[Any], labels: NDArray[np.int64]
) -> tuple["ModelProto", Trial, list[Trial]]:
    """Quantise in every way of ``SETTINGS`` and keep the most accurate; of several the one nearest to the original.

    Args:
        model: in floating point.
        samples: raw, (n, *input_shape), by which ranges are calibrated and the trials judged.
        labels: their classes, (n,).

    Returns:
        The model, the trial it is from, and all trials.

    Raises:
        UserError: nothing in it can be quantised.
    """
    expected = answers(open_onnx(onnx_file(model, {})), samples, _BATCH)
    models, trials = [], []
    for setting in SETTINGS:
        quantised = quantise(model, setting, samples)
        found = answers(open_onnx(onnx_file(quantised, {})), samples, _BATCH)
        models.append(quantised)
        distance = float(np.abs(found - expected).mean(dtype=np.float64))
        trials.append(Trial(setting, float((found.argmax(1) == labels).mean()), distance))
    best = max(range(len(trials)), key=lambda number: (trials[number].accuracy, -trials[number].distance))
    return models[best], trials[best], trials


def quantise(model: "ModelProto", setting: Setting, samples: NDArray[Any]) -> "ModelProto":
    """Quantise in one way, in the format of QuantizeLinear and DequantizeLinear pairs.

    Weights get seven of the eight bits: processors without VNNI add two products in 16 bits, which overflow with eight,
    so the file would be less accurate there than where it was made.

    Raises:
        UserError: nothing in it can be quantised.
    """
    import onnx
    from onnxruntime.quantization import (  # type: ignore[import-untyped]
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.batches: Iterator[dict[str, NDArray[Any]]] = (
                {INPUT: samples[i : i + _BATCH]} for i in range(0, len(samples), _BATCH)
            )

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            return next(self.batches, None)

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    with tempfile.TemporaryDirectory(prefix="int8-") as aside, quietly():
        path = Path(aside, "model.onnx")
        quantize_static(
            copy,
            path,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_QUANTISED,
            per_channel=setting.weights == "per channel",
            reduce_range=True,
            activation_type=QuantType[setting.activations],
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod[setting.ranges],
            extra_options={"OpTypesToExcludeOutputQuantization": _QUANTISED},
        )
        quantised = onnx.load(path)
    if not any(node.op_type == "DequantizeLinear" for node in quantised.graph.node):
        raise UserError(f"--int8: the network has nothing that can be quantised ({', '.join(_QUANTISED)}).")
    return quantised
