"""Joining: a foreign model as a backbone and a head, so that all that follows training is the same for both.

The features are the model's own penultimate layer, and the head is not fitted but the model's last layer. What explains
an answer is then exact, too: where the features are means over places, the head's weights say what each place adds.
"""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, compose, helper, numpy_helper

from scones.data.decode import resize
from scones.training.backbone import OPSET, Graph, backbone_weights
from scones.training.export import STEP, FeatureModel, Pooled, build_backbone
from scones.training.features import Photos
from scones.training.foreign import (
    LEAST,
    Answering,
    Choice,
    ForeignGraph,
    add_resize,
    converted,
    open_limited,
    run_limited,
    short_reason,
    with_input,
)
from scones.training.head import Floats
from scones.training.registration import CannotRegister

_GUARD_SIZE: Final = 160
"""The side at which Scones' own backbone looks at photos, for the guard of a model without features."""


def _add_logits(graph: Graph, answering: Answering) -> str:
    values = graph.add("Cast", graph.add("Flatten", answering.output, axis=1), to=TensorProto.FLOAT)
    if answering.form != "logits":
        least = graph.constant(np.float32(LEAST))
        chances = graph.add("Log", graph.add("Max", values, least))
        if answering.form == "sigmoid" or answering.numbers == 1:
            against = graph.add("Log", graph.add("Max", graph.add("Sub", graph.constant(np.float32(1)), values), least))
            chances = graph.add("Sub", chances, against)
        values = chances
    if answering.numbers == 1:
        values = graph.add("Concat", graph.add("Sub", values, values), values, axis=1)
    return values


class LastLayer(NamedTuple):
    """A linear last layer: its input, [N, F], and if they are constants its weights, [F, C], and bias, [C]."""

    features: str
    weights: Floats | None
    bias: Floats | None


@dataclass(frozen=True, slots=True)
class JoinedModel:
    """A foreign model as a backbone, and its last layer: *weights* [width, C] and *bias* [C] on the features.

    *guard* says whose features the out-of-distribution detector compares.
    """

    backbone: FeatureModel
    weights: Floats
    bias: Floats
    guard: str


def join(foreign: ForeignGraph, choice: Choice, photos: Photos, *, exact: bool = True) -> JoinedModel:
    """Join preprocessing, model and features in one graph from `photos` to `pooled`, float32 [N, width].

    Where the last layer is linear with constant weights, and the head may replace it (*exact*), `pooled` is its input.
    Otherwise it is the logits, then the
    input of the last layer or, where there is none, the last features of Scones' own backbone, made for *photos*.
    """
    model = with_input(foreign, choice.way)
    finder = _Finder(model, choice.answering)
    layer = finder.last_layer()
    graph = Graph("pooled_")
    if exact and layer and layer.weights is not None and layer.bias is not None:
        features = graph.add("Cast", graph.add("Flatten", layer.features, axis=1), to=TensorProto.FLOAT)
        graph.named("pooled", features)
        width = len(layer.weights)
        return JoinedModel(
            _closed(model, graph, finder.pooled(layer, width, foreign), photos.shape[1]),
            layer.weights,
            layer.bias,
            "its last layer's features",
        )
    logits = _add_logits(graph, choice.answering)
    if layer:
        features, guard = layer.features, "its last layer's features"
        features = graph.add("Cast", graph.add("Flatten", features, axis=1), to=TensorProto.FLOAT)
    else:
        model, features = _with_own_backbone(model, graph, photos)
        guard = "the features of Scones' own backbone"
    graph.named("pooled", graph.add("Concat", logits, features, axis=1))
    classes = max(2, choice.answering.numbers)
    backbone = _closed(model, graph, Pooled("", -1, classes, None, 0), photos.shape[1])
    weights = np.eye(backbone.width, classes, dtype=np.float32)
    return JoinedModel(backbone, weights, np.zeros(classes, np.float32), guard)


def _closed(model: onnx.ModelProto, graph: Graph, layer: Pooled, side: int) -> FeatureModel:
    """Check the graph, and count its features, where *layer* does not tell how many there are."""
    try:
        data = graph.appended(model, {"pooled": (TensorProto.FLOAT, ["N", "F"])})
        session = open_limited(onnx.load_from_string(data), optimized=False)
    except onnx.checker.ValidationError as error:
        raise CannotRegister(
            f"its graph is not valid ({short_reason(error)})", f"export it with opset {OPSET}"
        ) from error
    except onnx.shape_inference.InferenceError as error:
        raise CannotRegister(
            f"its shapes contradict ({short_reason(error)})", f"export it with opset {OPSET}"
        ) from error
    found = run_limited(session, np.zeros((1, side, side, 3), np.uint8))[0].shape[1]
    return FeatureModel(data, (layer._replace(channels=found - layer.mean),), side)


_LINEAR: Final = ("Gemm", "MatMul", "Conv")
"""A convolution counts where it has one place to look at, behind a pooling."""
_SAME: Final = ("Identity", "Flatten", "Reshape", "Squeeze", "Dropout")
"""Nodes that change no number of a row."""
_PROBABILITY: Final = ("Softmax", "LogSoftmax", "Sigmoid")
_LEARNT: Final = {"Conv", "Gemm", "MatMul", "ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul"}
_POOLING: Final = ("GlobalAveragePool", "ReduceMean")


class _Finder:
    """Looks for the last layer of a classifier, and for the maps that it pools."""

    def __init__(self, model: onnx.ModelProto, answering: Answering) -> None:
        self._maker = {name: node for node in model.graph.node for name in node.output if name}
        self._constants = {each.name: each for each in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
                self._constants[node.output[0]] = node.attribute[0].t
        self._model, self._answering = model, answering

    def last_layer(self) -> LastLayer | None:
        """Find the linear layer that the answer comes from, behind nothing but what turns logits to probabilities."""
        node, bias = self._maker.get(self._behind(self._answering.output, *_PROBABILITY)), None
        if node and node.op_type == "Add":
            bias, inner = self._added(node)
            node = self._maker.get(self._behind(inner)) if inner else None
        if node is None or node.op_type not in _LINEAR or node.input[0] in self._constants:
            return None
        if not self._is_learnt(node.input[0]):
            return None
        weights = self._constants.get(node.input[1])
        layer = LastLayer(node.input[0], None, None)
        return layer if weights is None else self._exact(layer, node, numpy_helper.to_array(weights), bias)

    def _exact(
        self, layer: LastLayer, node: onnx.NodeProto, weights: npt.NDArray[Any], bias: npt.NDArray[Any] | None
    ) -> LastLayer:
        options = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        if options.get("transA"):
            return layer
        if weights.ndim == 4 and weights.shape[2:] == (1, 1) and options.get("group", 1) == 1:
            weights, options["transB"] = weights[:, :, 0, 0], 1
        found = np.asarray(weights.T if options.get("transB") else weights, np.float32) * options.get("alpha", 1.0)
        numbers = self._answering.numbers
        if len(node.input) > 2 and node.input[2]:
            if (added := self._constants.get(node.input[2])) is None:
                return layer
            bias = numpy_helper.to_array(added) * options.get("beta", 1.0) + (0 if bias is None else bias)
        offset = np.zeros(numbers, np.float32) if bias is None else np.asarray(bias, np.float32).reshape(-1)
        if found.ndim != 2 or found.shape[1] != numbers or offset.size not in {1, numbers}:
            return layer
        offset = np.broadcast_to(offset, numbers)
        if numbers == 1:
            half = np.array([-0.5, 0.5], np.float32)
            found, offset = found * half, offset * half
        return LastLayer(layer.features, np.ascontiguousarray(found), np.ascontiguousarray(offset))

    def pooled(self, layer: LastLayer, width: int, foreign: ForeignGraph) -> Pooled:
        """Describe the features; where they are means over the places of square maps, the maps explain an answer."""
        node = self._maker.get(self._behind(layer.features))
        side = 0
        if node and node.op_type in _POOLING and foreign.height == foreign.width and self._over_places(node):
            side = self._side(node.input[0], width, foreign)
        # `export` finds the maps by the name of the node that pools them.
        name = node.name if node and side else ""
        if node and side and not name:
            name = node.name = "foreign_pooling"
        return Pooled(name, width, 0, None, side)

    def _over_places(self, node: onnx.NodeProto) -> bool:
        if node.op_type == "GlobalAveragePool":
            return True
        axes = next((list(each.ints) for each in node.attribute if each.name == "axes"), None)
        if axes is None and len(node.input) > 1 and node.input[1] in self._constants:
            axes = numpy_helper.to_array(self._constants[node.input[1]]).tolist()
        return axes is not None and sorted(each % 4 for each in axes) == [2, 3]

    def _side(self, maps: str, width: int, foreign: ForeignGraph) -> int:
        """Run the model on a photo to see the side of its square maps [N, width, side, side]; 0 for others."""
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        del model.graph.output[:]
        model.graph.output.append(helper.make_empty_tensor_value_info(maps))
        try:
            found = run_limited(
                open_limited(model, optimized=False), np.zeros((1, foreign.side, foreign.side, 3), np.uint8)
            )[0]
        except CannotRegister:
            return 0
        square = found.ndim == 4 and found.shape[1] == width and found.shape[2] == found.shape[3]
        return found.shape[2] if square and found.dtype == np.float32 else 0

    def _behind(self, name: str, *more: str) -> str:
        """Go back through nodes that change no number, and those of the kinds *more*."""
        while (node := self._maker.get(name)) and node.op_type in (*_SAME, *more) and node.input:
            name = node.input[0]
        return name

    def _added(self, node: onnx.NodeProto) -> tuple[npt.NDArray[Any] | None, str]:
        for constant, inner in (node.input, reversed(node.input)):
            if constant in self._constants:
                return numpy_helper.to_array(self._constants[constant]), inner
        return None, ""

    def _is_learnt(self, name: str) -> bool:
        """Whether features come out of a layer, and are not the photo itself."""
        pending, seen = [name], set()
        while pending:
            node = self._maker.get(pending.pop())
            if node is None or id(node) in seen:
                continue
            if node.op_type in _LEARNT:
                return True
            seen.add(id(node))
            pending.extend(node.input)
        return False


def _with_own_backbone(model: onnx.ModelProto, graph: Graph, photos: Photos) -> tuple[onnx.ModelProto, str]:
    """Add Scones' own backbone beside the model: the model with it, and the name of its last features."""
    version = next(each.version for each in model.opset_import if each.domain == "")
    if version < OPSET:
        model = converted(model)
    side = photos.shape[1] if photos.shape[1] % STEP == 0 and photos.shape[1] <= _GUARD_SIZE else _GUARD_SIZE
    own = build_backbone(backbone_weights("lite0"), resize(photos, side))
    beside = compose.add_prefix(onnx.load_from_string(own.model), "own_")
    pixels = graph.add("Cast", "photos", to=TensorProto.FLOAT)
    if side != photos.shape[1]:
        pixels = graph.add("Round", add_resize(graph, pixels, side, side))
    given = beside.graph.input[0].name
    first = helper.make_node("Cast", [pixels], [given], "own_input", to=TensorProto.UINT8)
    graph.nodes += [first, *beside.graph.node]
    graph.constants += beside.graph.initializer
    domains = {each.domain for each in model.opset_import}
    model.opset_import.extend(each for each in beside.opset_import if each.domain not in domains)
    ends = [graph.constant(np.array([value])) for value in (own.last.start, own.last.stop, 1)]
    return model, graph.add("Slice", beside.graph.output[0].name, *ends)
