"""Static int8 quantisation of weights and activations with onnxruntime."""

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

# More samples hardly change the calibrated ranges.
CALIBRATION_SAMPLES = 5000
_BATCH = 500
# The operators that take most of the time and the size. Others, above all softmax, would lose precision without a gain.
_QUANTISED = ["Gemm", "MatMul", "Conv"]


class Setting(NamedTuple):
    """Settings of the quantisation.

    Attributes:
        weights: granularity of the scales, ``per tensor`` or ``per channel``.
        activations: type of the activations, ``QUInt8`` (0 to 255) or ``QInt8`` (-128 to 127).
        ranges: calibration method of the activation ranges, ``MinMax`` or ``Percentile``, which ignores outliers.
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
    """Result of a setting on the calibration samples.

    Attributes:
        setting: see ``Setting``.
        accuracy: accuracy of the quantised program.
        distance: mean absolute difference of its probabilities from those of the floating-point program.
    """

    setting: Setting
    accuracy: float
    distance: float


def best_of(
    model: "ModelProto", samples: NDArray[Any], labels: NDArray[np.int64]
) -> tuple["ModelProto", Trial, list[Trial]]:
    """Quantise with each of ``SETTINGS``, and keep the most accurate model; ties are broken by ``Trial.distance``.

    Args:
        model: the floating-point model.
        samples: raw calibration samples, (n, *input_shape), on which the trials are also evaluated.
        labels: true classes, (n,).

    Returns:
        The quantised model, its trial, and all trials.

    Raises:
        UserError: the model has no operator that can be quantised.
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
    """Quantise in QDQ format (pairs of QuantizeLinear and DequantizeLinear).

    Weights use seven of the eight bits: processors without VNNI add two products in 16 bits, which would overflow with eight, so
    that the file would be less accurate there.

    Raises:
        UserError: the model has no operator that can be quantised.
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
