"""Exports a trained network to ONNX: uint8 photos in, calibrated probabilities out, everything between in the graph.

The graph is written node by node instead of by torch's exporter. That needs no torch, a tenth of the time, folds the
batch normalisations away, and costs one page; `check_parity` proves that both compute the same.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from scones.errors import SconesError
from scones.vision.calibration import soften
from scones.vision.messages import Weights
from scones.vision.recipe import LOGIT_SCALE, MEAN, STD, stem_stride

OPSET: Final = 18
_IR_VERSION: Final = 9
_BATCH_NORM_EPSILON: Final = 1e-5
TOLERANCE: Final = 1e-4
"""The largest difference in probability between the two accepted at export."""


class ParityError(SconesError):
    """The exported model computes something else than the trained one."""


def export(weights: Weights, *, image_size: int, temperature: float) -> bytes:
    """Write the network as an ONNX model: `photos` uint8 [N, H, W, 3] to `probabilities` float32 [N, C]."""
    graph = _Graph()
    x = graph.add("Cast", "photos", to=TensorProto.FLOAT)
    x = graph.add("Transpose", x, perm=[0, 3, 1, 2])
    channels = np.array([MEAN, STD], dtype=np.float32).reshape(2, 1, 3, 1, 1)
    x = graph.add("Div", graph.add("Sub", x, graph.constant(255 * channels[0])), graph.constant(255 * channels[1]))
    # The mirror images follow the photos in one double batch.
    ends = [graph.constant(np.array([value])) for value in (-1, np.iinfo(np.int64).min, 3, -1)]
    x = graph.add("Concat", x, graph.add("Slice", x, *ends), axis=0)
    stride = stem_stride(image_size)
    x = graph.add("Conv", x, graph.constant(weights["stem"]), pads=[1] * 4, strides=[stride] * 2)
    x = _normalised(graph, weights, "entry", graph.add("Relu", _halved(graph, x)))
    for stage in ("stages.0", "stages.1"):
        first = _normalised(graph, weights, f"{stage}.first", _halved(graph, x))
        x = graph.add("Add", first, _normalised(graph, weights, f"{stage}.second", first))
    logits = _head(graph, weights, x)
    classes = len(weights["head.bias"])
    return graph.model(_answer(graph, logits, classes, temperature), classes, image_size)


def check_parity(
    model: bytes, photos: npt.NDArray[np.uint8], log_probabilities: npt.NDArray[np.float32], temperature: float
) -> float:
    """Run *model* on *photos* and give its largest difference from what the trained network said of them.

    Raises:
        ParityError: the difference is over `TOLERANCE`.
    """
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (probabilities,) = session.run(["probabilities"], {"photos": photos})
    difference = float(np.abs(probabilities - soften(log_probabilities, temperature)).max())
    if not difference <= TOLERANCE:
        raise ParityError(f"the exported model differs from the trained one by {difference:.2g}; this is a bug")
    return difference


@dataclass(slots=True)
class _Graph:
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def add(self, kind: str, *inputs: str, **attributes: int | list[int]) -> str:
        """Append a node and name its output."""
        output = f"{kind}_{len(self.nodes)}"
        node = helper.make_node(kind, list(inputs), [output], **attributes)  # type: ignore[arg-type]
        self.nodes.append(node)
        return output

    def constant(self, value: npt.NDArray[np.generic]) -> str:
        """Keep a constant and name it."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def model(self, output: str, classes: int, image_size: int) -> bytes:
        """Close the graph, check it, and serialise it."""
        self.nodes.append(helper.make_node("Identity", [output], ["probabilities"]))
        photos = helper.make_tensor_value_info("photos", TensorProto.UINT8, ["N", image_size, image_size, 3])
        answer = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", classes])
        graph = helper.make_graph(self.nodes, "scones", [photos], [answer], self.constants)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=_IR_VERSION,
            producer_name="scones",
        )
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString())


def _halved(graph: _Graph, x: str) -> str:
    return graph.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])


def _normalised(graph: _Graph, weights: Weights, name: str, x: str) -> str:
    """Convolution and ReLU; the batch normalisation between them is folded into the convolution's weights."""
    matrix = weights[f"{name}.convolution.weight"]
    kernel = matrix.reshape(len(matrix), 3, 3, -1).transpose(0, 3, 1, 2)
    scale, shift, mean, variance = (
        weights[f"{name}.norm.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
    )
    gain = scale / np.sqrt(variance + _BATCH_NORM_EPSILON)
    folded = graph.constant(kernel * gain[:, None, None, None])
    return graph.add("Relu", graph.add("Conv", x, folded, graph.constant(shift - mean * gain), pads=[1] * 4))


def _head(graph: _Graph, weights: Weights, x: str) -> str:
    space = graph.constant(np.array([2, 3]))
    pooled = [graph.add(kind, x, space, keepdims=0) for kind in ("ReduceMax", "ReduceMean")]
    matrix = graph.constant(LOGIT_SCALE * weights["head.weight"])
    bias = graph.constant(LOGIT_SCALE * weights["head.bias"])
    return graph.add("Gemm", graph.add("Concat", *pooled, axis=1), matrix, bias, transB=1)


def _answer(graph: _Graph, logits: str, classes: int, temperature: float) -> str:
    """Mean log-probabilities of photo and mirror image, divided by the temperature, as probabilities."""
    logs = graph.add("LogSoftmax", logits, axis=1)
    pairs = graph.add("Reshape", logs, graph.constant(np.array([2, -1, classes])))
    mean = graph.add("ReduceMean", pairs, graph.constant(np.array([0])), keepdims=0)
    divisor = graph.constant(np.array([temperature], dtype=np.float32))
    return graph.add("Softmax", graph.add("Div", mean, divisor), axis=1)
