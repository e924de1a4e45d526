"""Export of a trained classifier to a program that maps raw samples to class probabilities, including preprocessing."""

import io
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from src.analysis.export.quiet import quietly
from src.tasks.losses import probabilities
from src.tasks.pipeline import Pipeline

if TYPE_CHECKING:
    from onnx import ModelProto

INPUT, OUTPUT = "images", "probabilities"
# Name of the metadata in a .pt2 file, which is an archive.
METADATA = "metadata.json"

# Raw samples (n, *input_shape) to probabilities (n, classes).
Program = Callable[[NDArray[Any]], NDArray[np.float32]]


class Predictor(nn.Module):
    """Predicts the probability of each class.

    Args:
        pipeline: preprocessing and network, which are exported in evaluation mode.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        super().__init__()
        self.pipeline = pipeline
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Map raw samples (n, *input_shape) to probabilities (n, classes)."""
        return probabilities(self.pipeline(images))


def onnx_of(predictor: Predictor, samples: Tensor) -> "ModelProto":
    """Export to ONNX, with a dynamic batch dimension.

    Args:
        predictor: the model.
        samples: at least two samples of any content, which determine dtype and shape.
    """
    with quietly():
        program = torch.onnx.export(
            predictor,
            (samples,),
            dynamo=True,
            verbose=False,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes={INPUT: {0: torch.export.Dim("n")}},
            external_data=False,
        )
    assert program is not None  # None is returned only without dynamo
    model = program.model_proto
    for part in (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer):
        part.ClearField("metadata_props")  # contains paths of source files on this machine
    return model


def onnx_file(model: "ModelProto", facts: Mapping[str, Any]) -> bytes:
    """Serialize a model to a single .onnx file; ``facts`` become its metadata, non-strings in JSON."""
    from onnx import helper

    helper.set_model_props(
        model, {name: fact if isinstance(fact, str) else json.dumps(fact) for name, fact in facts.items()}
    )
    return model.SerializeToString()


def pt2_file(predictor: Predictor, samples: Tensor, facts: Mapping[str, Any]) -> bytes:
    """Serialize a model to a .pt2 file; ``facts`` become its ``metadata.json``. For the other arguments see ``onnx_of``."""
    file = io.BytesIO()
    with quietly():
        program = torch.export.export(predictor, (samples,), dynamic_shapes={INPUT: {0: torch.export.Dim("n")}})
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # contains paths of source files on this machine
        torch.export.save(program, file, extra_files={METADATA: json.dumps(facts)})
    return file.getvalue()


def open_original(predictor: Predictor) -> Program:
    """The model as a ``Program``."""

    def run(samples: NDArray[Any]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return predictor(torch.from_numpy(samples)).numpy()

    return run


def open_onnx(content: bytes) -> Program:
    """Load an .onnx file with onnxruntime, on one thread."""
    from onnxruntime import InferenceSession, SessionOptions  # type: ignore[import-untyped]

    options = SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only, which are also raised
    session = InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda samples: session.run([OUTPUT], {INPUT: samples})[0]


def open_pt2(content: bytes) -> Program:
    """Load a file of ``pt2_file``. Not for untrusted files, against which torch's loader is not hardened."""
    with quietly():
        program = torch.export.load(io.BytesIO(content)).module()

    def run(samples: NDArray[Any]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return program(torch.from_numpy(samples)).numpy()

    return run
