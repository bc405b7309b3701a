"""Export: the backbone in int8 with restoration before it, and the model file's graph, which adds a head to it."""

import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from scones.domain.errors import ModelError
from scones.training.backbone import Graph, Weights, add_backbone
from scones.training.calibration import NEIGHBOURS, OodDetector, soften
from scones.training.features import open_session
from scones.training.head import Head, HeadOutputs
from scones.training.restoration import add_restoration

EXACT: Final = "exact_"
"""How the names of the nodes begin that stay exact in int8: the restoration, and what pools the layers."""
TOLERANCE: Final = 5e-3
"""The largest difference in probability between the two accepted at export."""
SCORE_TOLERANCE: Final = 5e-2
"""The same for unfamiliarity, whose scale is the spread over known photos."""
STEP: Final = 32
"""By which the backbone thins a photo: its side must be a multiple."""
_PLACE: Final = 16
"""Pixels of the backbone's photo that a place of the evidence has on each side."""
FIRST_BLOCK: Final = 3
"""The blocks before it see edges and colors, and cost the most to pool."""

Photos = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


class ParityError(ModelError):
    """The exported model computes something else than the trained one."""


class Pooled(NamedTuple):
    """One layer in the row of features: which columns have its means, which its maxima (if any), and its side.

    The *node* that takes the means has the layer's maps as its input; empty for a layer without maps.
    """

    node: str
    channels: int
    mean: int
    maximum: int | None
    side: int


@dataclass(frozen=True, slots=True)
class FeatureModel:
    """The backbone as an ONNX model from `photos` to `pooled`, float32 [N, width]; its *layers*, the last one last."""

    model: bytes
    layers: tuple[Pooled, ...]
    image_size: int

    @property
    def width(self) -> int:
        """How many features a photo has."""
        return int(self.last.stop)

    @property
    def last(self) -> slice:
        """The features of the last layer."""
        layer = self.layers[-1]
        return slice(layer.mean, layer.mean + layer.channels)

    @property
    def places(self) -> int:
        """How many places an explanation has in each direction; 0 without maps. A single layer has its own."""
        whole = self.layers[0].side if len(self.layers) == 1 else max(1, self.image_size // _PLACE)
        return whole if all(layer.node for layer in self.layers) else 0


def build_backbone(weights: Weights, photos: Photos) -> FeatureModel:
    """Build it for photos like these, [N, H, H, 3], which show what values occur in its layers, and quantize it."""
    graph, side = Graph(EXACT), photos.shape[1]
    x = graph.add("Transpose", graph.add("Cast", "photos", to=TensorProto.FLOAT), perm=[0, 3, 1, 2])
    white = graph.constant(np.float32(255))
    x = graph.add("Mul", add_restoration(graph, graph.add("Div", x, white)), white)
    graph.part = ""
    found = add_backbone(graph, x, weights)
    graph.part = EXACT
    space = graph.constant(np.array([2, 3]))
    layers, pools, width = [], [], 0
    blocks = list(zip(found.blocks, found.channels, found.strides, strict=True))[FIRST_BLOCK:]
    for block, channels, stride in blocks:
        mean = graph.add("ReduceMean", block, space, keepdims=0)
        pools += [mean, graph.add("ReduceMax", block, space, keepdims=0)]
        layers.append(Pooled(mean, channels, width, width + channels, side // stride))
        width += 2 * channels
    channels = len(weights["_conv_head.weight"])
    pools.append(graph.add("ReduceMean", found.head, space, keepdims=0))
    layers.append(Pooled(pools[-1], channels, width, None, side // found.strides[-1]))
    graph.named("pooled", graph.add("Concat", *pools, axis=1))
    exact = graph.model({"pooled": (TensorProto.FLOAT, ["N", width + channels])}, side)
    return FeatureModel(quantize(exact, photos), tuple(layers), side)


_BATCH: Final = 8
_IN_WHOLE_NUMBERS: Final = ["Conv", "Clip", "Add"]
CALIBRATION_PHOTOS: Final = 80
"""Photos by which the range of each layer's values is found."""


class _Photos(CalibrationDataReader):  # type: ignore[misc]
    """Hands the photos to the calibration in batches."""

    def __init__(self, photos: Photos) -> None:
        self._batches: Iterator[Photos] = (photos[at : at + _BATCH] for at in range(0, len(photos), _BATCH))

    def get_next(self) -> dict[str, Photos] | None:
        """Give the next batch by the model's input name, or None at the end."""
        batch = next(self._batches, None)
        return None if batch is None else {"photos": batch}


def quantize(exact: onnx.ModelProto, photos: Photos) -> bytes:
    """Quantize the convolutions, each output channel by itself; nodes whose names begin with `EXACT` stay as they are.

    What lies between two convolutions is done in whole numbers, too, so that nothing is converted back and forth.
    """
    some = photos[:: max(1, -(-len(photos) // CALIBRATION_PHOTOS))]
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
            nodes_to_exclude=[node.name for node in exact.graph.node if node.name.startswith(EXACT)],
        )
        return path.read_bytes()


class _quiet:  # noqa: N801 - used like a function
    """Keeps the quantizer's advice to preprocess, which this graph does not need, off the job's log."""

    def __enter__(self) -> None:
        self._before = logging.root.manager.disable
        logging.disable(logging.WARNING)

    def __exit__(self, *_: object) -> None:
        logging.disable(self._before)


@dataclass(frozen=True, slots=True)
class FittedModel:
    """All that the model file's graph is made of; *average* are the training photos' mean features, [width]."""

    backbone: FeatureModel
    head: Head
    ood_detector: OodDetector
    temperature: float
    average: Floats


def export(fitted: FittedModel) -> bytes:
    """Write an ONNX model: `photos` uint8 [N, H, W, 3] to `probabilities` float32 [N, C] and `unfamiliarity` [N].

    Further outputs cost nothing unless they are asked for: `logits` [N, C]; `evidence` [N, C, G, G], each place's share
    of the logits, which add up to them but for a constant; `features` [N, F], of length 1; and the rows of the
    reference photos whose features are `nearest`, int64 [N, K], with their cosine `similarity` [N, K].
    """
    model = onnx.load_from_string(fitted.backbone.model)
    graph, head, last = Graph("head_"), fitted.head, fitted.backbone.last
    classes = len(head.bias)
    scale = np.float32(1 / fitted.temperature)
    logits = graph.add("Gemm", "pooled", graph.constant(scale * head.weights), graph.constant(scale * head.bias))
    ends = [graph.constant(np.array([value])) for value in (last.start, last.stop, 1)]
    direction = graph.add("LpNormalization", graph.add("Slice", "pooled", *ends), axis=1, p=2)
    neighbours = min(len(head.memory), NEIGHBOURS)
    likeness = graph.add("MatMul", direction, graph.constant(head.memory.T))
    similarity = graph.add("TopK", likeness, graph.constant(np.array([neighbours])), outputs=2, axis=1)
    answers = {
        "probabilities": graph.add("Softmax", logits, axis=1),
        "unfamiliarity": _unfamiliarity(graph, similarity, neighbours, fitted),
        "logits": logits,
        "features": direction,
        "nearest": f"{similarity}_1",
        "similarity": similarity,
    }
    shapes: dict[str, tuple[int, list[str | int]]] = {
        "probabilities": (TensorProto.FLOAT, ["N", classes]),
        "unfamiliarity": (TensorProto.FLOAT, ["N"]),
        "logits": (TensorProto.FLOAT, ["N", classes]),
        "features": (TensorProto.FLOAT, ["N", last.stop - last.start]),
        "nearest": (TensorProto.INT64, ["N", neighbours]),
        "similarity": (TensorProto.FLOAT, ["N", neighbours]),
    }
    if places := fitted.backbone.places:
        answers["evidence"] = _evidence(graph, model, fitted)
        shapes["evidence"] = (TensorProto.FLOAT, ["N", classes, places, places])
    for name, inner in answers.items():
        graph.named(name, inner)
    return graph.appended(model, shapes)


def _unfamiliarity(graph: Graph, similarity: str, neighbours: int, fitted: FittedModel) -> str:
    """The OOD detector's score, [N]: calibration.py says what it is made of."""
    by_logit, by_distance = fitted.ood_detector.weights
    weights = np.float32(by_logit) * fitted.head.outlier_weights[:, None]
    # The distance is 1 less the mean similarity of the nearest.
    base = np.array([by_logit * fitted.head.outlier_bias + fitted.ood_detector.offset + by_distance], np.float32)
    learnt = graph.add("Gemm", "pooled", graph.constant(weights), graph.constant(base))
    near = graph.constant(np.full((neighbours, 1), -by_distance / neighbours, dtype=np.float32))
    return graph.add("Reshape", graph.add("Gemm", similarity, near, learnt), graph.constant(np.array([-1])))


def _evidence(graph: Graph, model: onnx.ModelProto, fitted: FittedModel) -> str:
    """Each place's share of the logits beyond those of average features, [N, C, places, places].

    The head is linear, so a mean's share is that of its places; a maximum's goes to the places that reach it.
    """
    maps = {node.name: node.input[0] for node in model.graph.node}
    weights, places = fitted.head.weights / np.float32(fitted.temperature), fitted.backbone.places
    total = ""
    for layer in fitted.backbone.layers:
        x = maps[layer.node]
        rows = slice(layer.mean, layer.mean + layer.channels)
        share = _shares(graph, x, weights[rows] / np.float32(layer.side**2), fitted.average[rows])
        if layer.maximum is not None:
            space = graph.constant(np.array([2, 3]))
            rows = slice(layer.maximum, layer.maximum + layer.channels)
            reached = graph.add("Equal", x, graph.add("ReduceMax", x, space))
            reached = graph.add("Cast", reached, to=TensorProto.FLOAT)
            part = graph.add("Div", reached, graph.add("ReduceSum", reached, space))
            off = graph.add("Sub", x, graph.constant(fitted.average[rows].reshape(1, -1, 1, 1)))
            peaks = graph.add("Mul", off, part)
            share = graph.add("Add", share, graph.add("Conv", peaks, _kernel(graph, weights[rows])))
        share = _on_grid(graph, share, layer.side, places)
        total = graph.add("Add", total, share) if total else share
    return total


def _shares(graph: Graph, x: str, weights: Floats, average: Floats) -> str:
    return graph.add("Conv", x, _kernel(graph, weights), graph.constant(np.float32(-(average @ weights))))


def _kernel(graph: Graph, weights: Floats) -> str:
    """The convolution that multiplies each place's channels, [channels, C], by *weights*."""
    return graph.constant(np.ascontiguousarray(weights.T, dtype=np.float32)[:, :, None, None])


def _on_grid(graph: Graph, share: str, side: int, places: int) -> str:
    """Sum shares up to larger places, or spread them evenly over smaller ones."""
    if side > places:
        times = side // places
        mean = graph.add("AveragePool", share, kernel_shape=[times] * 2, strides=[times] * 2)
        return graph.add("Mul", mean, graph.constant(np.float32(times**2)))
    if side == places:
        return share
    times = places // side
    scales = graph.constant(np.array([1, 1, times, times], np.float32))
    spread = graph.add("Resize", share, "", scales, mode="nearest", coordinate_transformation_mode="asymmetric")
    return graph.add("Mul", spread, graph.constant(np.float32(1 / times**2)))


def check_parity(model: bytes, fitted: FittedModel, photos: Photos, said: HeadOutputs) -> float:
    """Run *model* on *photos* and give its largest difference in probability from what the head said of them.

    Raises:
        ParityError: the difference is over `TOLERANCE`, or that in unfamiliarity over `SCORE_TOLERANCE`.
    """
    probabilities, scores = open_session(model).run(["probabilities", "unfamiliarity"], {"photos": photos})
    difference = float(np.abs(probabilities - soften(said.log_probabilities, fitted.temperature)).max())
    score_difference = float(np.abs(scores - fitted.ood_detector.score(said.strangeness)).max())
    if not (difference <= TOLERANCE and score_difference <= SCORE_TOLERANCE):
        found = f"{difference:.2g} in probability and {score_difference:.2g} in unfamiliarity"
        raise ParityError(f"the exported model differs from the trained one by {found}; this is a bug")
    return difference
