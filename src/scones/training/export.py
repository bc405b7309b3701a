"""Export: a trained network as an ONNX graph from uint8 photos to calibrated probabilities, exact and in int8."""

import logging
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from scones.domain.errors import ModelError
from scones.training.calibration import NEIGHBOURS, OodDetector, soften
from scones.training.recipe import (
    LOGIT_SCALE,
    MEAN,
    MIN_CONTRAST,
    MIN_DEVIATION,
    NOISE_ALL,
    NOISE_FROM,
    REACH,
    STD,
    FittedNetwork,
    NetworkOutputs,
    Weights,
    noise_finder,
    smoothing,
    stem_stride,
)

OPSET: Final = 18
_IR_VERSION: Final = 9
_BATCH_NORM_EPSILON: Final = 1e-5
RESTORING: Final = "restore_"
"""How the names of the nodes begin that restore the photo: those stay exact in int8."""
TOLERANCE: Final = 1e-4
"""The largest difference in probability between the two accepted at export."""
SCORE_TOLERANCE: Final = 1e-2
"""The same for unfamiliarity, whose scale is the spread over known photos."""


class ParityError(ModelError):
    """The exported model computes something else than the trained one."""


@dataclass(frozen=True, slots=True)
class FittedModel:
    """All that the graph is made of."""

    fitted: FittedNetwork
    ood_detector: OodDetector
    temperature: float
    image_size: int


def export(trained: FittedModel) -> bytes:
    """Write an ONNX model: `photos` uint8 [N, H, W, 3] to `probabilities` float32 [N, C], `unfamiliarity` [N]."""
    graph, weights = _Graph(), trained.fitted.weights
    x = graph.add("Transpose", graph.add("Cast", "photos", to=TensorProto.FLOAT), perm=[0, 3, 1, 2])
    x = _restored(graph, graph.add("Div", x, graph.constant(np.array(255, dtype=np.float32))))
    channels = np.array([MEAN, STD], dtype=np.float32).reshape(2, 1, 3, 1, 1)
    x = graph.add("Div", graph.add("Sub", x, graph.constant(channels[0])), graph.constant(channels[1]))
    # The mirror images follow the photos in one double batch.
    ends = [graph.constant(np.array([value])) for value in (-1, np.iinfo(np.int64).min, 3, -1)]
    x = graph.add("Concat", x, graph.add("Slice", x, *ends), axis=0)
    stride = stem_stride(trained.image_size)
    x = graph.add("Conv", x, graph.constant(weights["stem"]), pads=[1] * 4, strides=[stride] * 2)
    # As the network, which halves first: the order makes no difference, and here the convolution takes the ReLU in.
    x = _normalised(graph, weights, "entry", _halved(graph, graph.add("Relu", x)))
    for stage in ("stages.0", "stages.1"):
        first = _normalised(graph, weights, f"{stage}.first", _halved(graph, x))
        x = graph.add("Add", first, _normalised(graph, weights, f"{stage}.second", first))
    space = graph.constant(np.array([2, 3]))
    features = graph.add("Concat", *(graph.add(kind, x, space, keepdims=0) for kind in _POOLS), axis=1)
    # Head and mean are linear: the mean over photo and mirror image may come first, and is taken once.
    mean = _mean_of_sides(graph, features, weights["head.weight"].shape[1])
    classes = len(weights["head.bias"]) - 1
    outputs = {
        "probabilities": _probabilities(graph, mean, trained),
        "unfamiliarity": _unfamiliarity(graph, mean, trained),
    }
    return graph.model(outputs, classes, trained.image_size)


_POOLS: Final = ("ReduceMax", "ReduceMean")


def check_parity(model: bytes, trained: FittedModel, photos: npt.NDArray[np.uint8], said: NetworkOutputs) -> float:
    """Run *model* on *photos* and give its largest difference in probability from what the trained network said.

    Raises:
        ParityError: the difference is over `TOLERANCE`, or that in unfamiliarity over `SCORE_TOLERANCE`.
    """
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    probabilities, scores = session.run(["probabilities", "unfamiliarity"], {"photos": photos})
    difference = float(np.abs(probabilities - soften(said.log_probabilities, trained.temperature)).max())
    score_difference = float(np.abs(scores - trained.ood_detector.score(said.strangeness)).max())
    if not (difference <= TOLERANCE and score_difference <= SCORE_TOLERANCE):
        found = f"{difference:.2g} in probability and {score_difference:.2g} in unfamiliarity"
        raise ParityError(f"the exported model differs from the trained one by {found}; this is a bug")
    return difference


@dataclass(slots=True)
class _Graph:
    part: str = ""
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def add(self, kind: str, *inputs: str, **attributes: int | str | list[int] | onnx.GraphProto) -> str:
        """Append a node and name its output."""
        output = f"{self.part}{kind}_{len(self.nodes)}"
        # Of TopK only the values are used; its second output, the places, needs a name all the same.
        outputs = [output, f"{output}_places"] if kind == "TopK" else [output]
        node = helper.make_node(kind, list(inputs), outputs, output, **attributes)  # type: ignore[arg-type]
        self.nodes.append(node)
        return output

    def constant(self, value: npt.NDArray[np.generic]) -> str:
        """Keep a constant and name it."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def model(self, outputs: Mapping[str, str], classes: int, image_size: int) -> bytes:
        """Close the graph, check it, and serialise it."""
        self.nodes += [helper.make_node("Identity", [inner], [name]) for name, inner in outputs.items()]
        photos = helper.make_tensor_value_info("photos", TensorProto.UINT8, ["N", image_size, image_size, 3])
        shapes: dict[str, list[str | int]] = {"probabilities": ["N", classes], "unfamiliarity": ["N"]}
        answers = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]) for name in outputs]
        graph = helper.make_graph(self.nodes, "scones", [photos], answers, self.constants)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=_IR_VERSION,
            producer_name="scones",
        )
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString())


def _restored(graph: _Graph, x: str) -> str:
    """What restore.py does, node by node."""
    graph.part = RESTORING
    numbers = {
        value: graph.constant(np.array(value, dtype=np.float32)) for value in (0, 1, MIN_DEVIATION, MIN_CONTRAST)
    }
    whole = graph.constant(np.array([1, 2, 3]))
    level = graph.add("ReduceMean", graph.add("Abs", graph.add("Conv", x, graph.constant(noise_finder()))), whole)
    start, width = (graph.constant(np.array(value, np.float32)) for value in (NOISE_FROM, NOISE_ALL - NOISE_FROM))
    share = graph.add("Clip", graph.add("Div", graph.add("Sub", level, start), width), numbers[0], numbers[1])
    calm = _smoothed(graph, x, share)
    middle = graph.add("ReduceMean", calm, graph.constant(np.array([2, 3])))
    off = graph.add("Sub", calm, middle)
    deviation = graph.add("Sqrt", graph.add("ReduceMean", graph.add("Mul", off, off), whole))
    lift = graph.add("Div", numbers[MIN_CONTRAST], graph.add("Max", deviation, numbers[MIN_DEVIATION]))
    restored = graph.add("Add", middle, graph.add("Mul", off, graph.add("Max", lift, numbers[1])))
    graph.part = ""
    return restored


def _smoothed(graph: _Graph, x: str, share: str) -> str:
    """Blend *x* with its smoothed copy, if any photo has a *share* of it: few have, and smoothing is dear."""
    noisy = graph.add("Greater", graph.add("ReduceMax", share, keepdims=0), graph.constant(np.array(0, np.float32)))
    outer, graph.nodes, graph.part = graph.nodes, [], f"{RESTORING}noisy_"
    smoothed = graph.add("Pad", x, graph.constant(np.array([0, 0, REACH, REACH] * 2)), mode="reflect")
    for kernel in smoothing():
        smoothed = graph.add("Conv", smoothed, graph.constant(kernel))
    blend = graph.add("Add", x, graph.add("Mul", share, graph.add("Sub", smoothed, x)))
    then, graph.nodes, graph.part = graph.nodes, outer, RESTORING
    same = helper.make_node("Identity", [x], ["same"], "same")
    branches = {
        name: helper.make_graph(each, name, [], [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)])
        for name, each, output in (("then_branch", then, blend), ("else_branch", [same], "same"))
    }
    return graph.add("If", noisy, **branches)


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


def _mean_of_sides(graph: _Graph, x: str, columns: int) -> str:
    """The mean over photo and mirror image, [N, columns] of [2N, columns]."""
    pairs = graph.add("Reshape", x, graph.constant(np.array([2, -1, columns])))
    return graph.add("ReduceMean", pairs, graph.constant(np.array([0])), keepdims=0)


def _probabilities(graph: _Graph, features: str, trained: FittedModel) -> str:
    """The classes' logits, divided by the temperature, as probabilities."""
    weight, bias = (trained.fitted.weights[f"head.{part}"][:-1] for part in ("weight", "bias"))
    scale = LOGIT_SCALE / trained.temperature
    logits = graph.add("Gemm", features, graph.constant(scale * weight), graph.constant(scale * bias), transB=1)
    return graph.add("Softmax", logits, axis=1)


def _unfamiliarity(graph: _Graph, features: str, trained: FittedModel) -> str:
    """The OOD detector's score, [N]: ood_detector.py says what it is made of."""
    by_logit, by_distance = trained.ood_detector.weights
    weight, bias = (by_logit * LOGIT_SCALE * trained.fitted.weights[f"head.{part}"][-1:] for part in ("weight", "bias"))
    # The distance is 1 less the mean likeness of the nearest.
    base = (bias + trained.ood_detector.offset + by_distance).astype(np.float32)
    learnt = graph.add("Gemm", features, graph.constant(weight.astype(np.float32)), graph.constant(base), transB=1)
    direction = graph.add("LpNormalization", features, axis=1, p=2)
    likeness = graph.add("MatMul", direction, graph.constant(trained.fitted.memory.T))
    count = min(len(trained.fitted.memory), NEIGHBOURS)
    nearest = graph.add("TopK", likeness, graph.constant(np.array([count])), axis=1)
    near = graph.constant(np.full((count, 1), -by_distance / count, dtype=np.float32))
    return graph.add("Reshape", graph.add("Gemm", nearest, near, learnt), graph.constant(np.array([-1])))


_BATCH: Final = 50
_IN_WHOLE_NUMBERS: Final = ["Conv", "Relu", "MaxPool", "Add"]
CALIBRATION_PHOTOS: Final = 200
"""Photos by which the range of each layer's values is found."""


class _Photos(CalibrationDataReader):  # type: ignore[misc]
    """Hands the photos to the calibration in batches."""

    def __init__(self, photos: npt.NDArray[np.uint8]) -> None:
        self._batches: Iterator[npt.NDArray[np.uint8]] = (
            photos[at : at + _BATCH] for at in range(0, len(photos), _BATCH)
        )

    def get_next(self) -> dict[str, npt.NDArray[np.uint8]] | None:
        """Give the next batch by the model's input name, or None at the end."""
        batch = next(self._batches, None)
        return None if batch is None else {"photos": batch}


def quantise(model: bytes, photos: npt.NDArray[np.uint8]) -> bytes:
    """Quantise the convolutions of *model*, each output channel by itself; *photos* show what values occur.

    The rest is cheap, and stays exact: restoring, standardization, head, temperature, and the OOD distance. What
    lies between two convolutions is done in whole numbers, too, so that nothing is converted back and forth.
    """
    some = photos[:: max(1, len(photos) // CALIBRATION_PHOTOS)]
    exact = onnx.load_from_string(model)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "int8.onnx"
        quantize_static(
            exact,
            path,
            _Photos(some),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=_IN_WHOLE_NUMBERS,
            nodes_to_exclude=[node.name for node in exact.graph.node if node.name.startswith(RESTORING)],
        )
        return path.read_bytes()


class _quiet:  # noqa: N801 - used like a function
    """Keeps the quantiser's advice to preprocess, which this graph does not need, off the job's log."""

    def __enter__(self) -> None:
        self._before = logging.root.manager.disable
        logging.disable(logging.WARNING)

    def __exit__(self, *_: object) -> None:
        logging.disable(self._before)
