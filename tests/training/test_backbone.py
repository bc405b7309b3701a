"""Backbone weights: read from their package without PyTorch, and from nothing else; the network is the right one."""

import collections
import io
import pickle  # noqa: TID251 - to write what must be refused
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto

from scones.training import backbone
from scones.training.backbone import BACKBONES, BackboneError, Graph, add_backbone, backbone_weights, read_tensors

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


class _Named:
    """Pickles as a global of another module."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


_InPython: Any = pickle._Pickler


class _Pickler(_InPython):  # type: ignore[misc]
    """Writes what `torch.save` wrote, without PyTorch."""

    dispatch: Any = dict(_InPython.dispatch)  # noqa: RUF012 - as its base has it

    def persistent_id(self, obj: object) -> object:
        return obj if isinstance(obj, tuple) and obj and obj[0] == "storage" else None

    def save_named(self, obj: _Named) -> None:
        self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())

    dispatch[_Named] = save_named


class _Tensor:
    def __init__(self, values: np.ndarray, key: str, strides: tuple[int, ...] | None = None) -> None:
        self.values, self.key = values, key
        self.strides = strides or tuple(step // values.itemsize for step in values.strides)


def _save_tensor(pickler: Any, tensor: _Tensor) -> None:
    kind = "LongStorage" if tensor.values.dtype == np.int64 else "FloatStorage"
    storage = ("storage", _Named("torch", kind), tensor.key, "cpu", tensor.values.size, None)
    arguments: Any = (storage, 0, tensor.values.shape, tensor.strides, False, collections.OrderedDict())
    pickler.save(_Named("torch._utils", "_rebuild_tensor_v2"))
    pickler.save(arguments)
    pickler.write(pickle.REDUCE)


_Pickler.dispatch[_Tensor] = _save_tensor


def saved(tensors: object, values: dict[str, np.ndarray], magic: int = MAGIC, keys: list[str] | None = None) -> bytes:
    """A file of the old form of `torch.save`."""
    stream = io.BytesIO()
    for each in (magic, PROTOCOL, {"little_endian": True}, tensors, sorted(values) if keys is None else keys):
        _Pickler(stream, 2).dump(each)
    for key in sorted(values):
        stream.write(struct.pack("<q", values[key].size) + values[key].tobytes())
    return stream.getvalue()


def test_tensors_are_read_in_their_shapes_and_orders() -> None:
    """Floats and whole numbers; one that was stored transposed, too."""
    one, number = np.arange(6, dtype="<f4").reshape(2, 3), np.array(7, dtype="<i8")
    turned = np.arange(6, dtype="<f4").reshape(3, 2)
    tensors = {"one": _Tensor(one, "0"), "number": _Tensor(number, "1"), "turned": _Tensor(turned, "2", (1, 3))}
    found = read_tensors(saved(tensors, {"0": one, "1": number, "2": turned}))
    assert np.array_equal(found["one"], one)
    assert found["number"] == 7
    assert np.array_equal(found["turned"], np.arange(6).reshape(2, 3).T)


HOSTILE = [
    ("os", "system"),
    ("posix", "system"),
    ("builtins", "eval"),
    ("builtins", "exec"),
    ("builtins", "getattr"),
    ("subprocess", "Popen"),
    ("collections", "OrderedDict.__reduce__"),
    ("torch", "load"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch.storage", "_load_from_bytes"),
    ("pickle", "loads"),
    ("numpy", "load"),
    ("functools", "partial"),
    ("operator", "attrgetter"),
    ("importlib", "import_module"),
    ("scones.training.backbone", "pickle.loads"),
]


@pytest.mark.parametrize(("module", "name"), HOSTILE)
def test_a_pickle_that_names_anything_else_is_refused(module: str, name: str) -> None:
    """Before it is called, in each of the file's pickles."""
    hostile = _Named(module, name)
    for at in range(5):
        parts: list[object] = [MAGIC, PROTOCOL, {}, {}, []]
        parts[at] = {"x": hostile}
        stream = io.BytesIO()
        for part in parts:
            _Pickler(stream, 2).dump(part)
        with pytest.raises(BackboneError, match="no file of weights needs"):
            read_tensors(stream.getvalue())


VALUES = np.arange(6, dtype="<f4")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04 a zip file",
        b"\x80\x02.",
        saved({}, {}, magic=1),
        saved({"x": _Tensor(VALUES, "0")}, {"0": VALUES})[:-3],
        saved({"x": _Tensor(VALUES, "0")}, {}, keys=[]),
        saved({"x": _Tensor(VALUES, "0", (9,))}, {"0": VALUES}),
        saved({"x": _Tensor(VALUES.reshape(2, 3), "0", (-3, 1))}, {"0": VALUES}),
        saved({"x": 5}, {}),
        saved([1, 2], {}),
        saved({"x": _Tensor(VALUES, "0")}, {"0": VALUES})[:-32] + struct.pack("<q", 2**40),
        saved({"x": _Tensor(VALUES, "0")}, {"0": VALUES})[:-32] + struct.pack("<q", -1),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(data: bytes) -> None:
    """Cut, of another form, or with shapes that reach beyond the values."""
    with pytest.raises(BackboneError) as told:
        read_tensors(data)
    assert "\n" not in str(told.value)


def test_a_file_with_another_hash_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names both hashes and the package."""
    found = BACKBONES["lite0"]._replace(sha256="0" * 64)
    monkeypatch.setattr(backbone, "BACKBONES", {"lite0": found})
    with pytest.raises(BackboneError, match=f"has SHA-256 5793.*, not {'0' * 64}; install efficientnet-lite0"):
        backbone_weights("lite0")


def test_an_unknown_or_missing_backbone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what there is, or what to install."""
    with pytest.raises(BackboneError, match="no backbone 'lite9'; known are: lite0, lite2"):
        backbone_weights("lite9")
    monkeypatch.setattr(backbone, "BACKBONES", {"lite0": BACKBONES["lite0"]._replace(package="not-there")})
    with pytest.raises(BackboneError, match="needs the package not-there, which is not installed"):
        backbone_weights("lite0")


def relu6(x: np.ndarray) -> np.ndarray:
    """As between the backbone's layers."""
    return np.asarray(np.clip(x, 0, 6))


def convolve(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """Convolve [C, H, W] with [O, C / groups, K, K], padded as TensorFlow does; each channel by itself, or all."""
    size, side = kernel.shape[-1], x.shape[-1]
    places = -(-side // stride)
    pad = max(0, (places - 1) * stride + size - side)
    padded = np.pad(x, ((0, 0), *[(pad // 2, pad - pad // 2)] * 2))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), (1, 2))[:, ::stride, ::stride]
    if kernel.shape[1] == 1 and len(kernel) == len(x):
        return np.asarray(np.einsum("chwij,cij->chw", windows, kernel[:, 0]))
    return np.asarray(np.einsum("chwij,ocij->ohw", windows, kernel))


def computed(weights: backbone.Weights, pixels: np.ndarray) -> np.ndarray:
    """The last layer's means, in numpy, without anything of the graph: one photo [3, H, W] of values 0 to 255."""

    def step(x: np.ndarray, name: str, norm: str, stride: int = 1) -> np.ndarray:
        x = convolve(x, weights[f"{name}.weight"], stride)
        scale, shift, mean, variance = (
            weights[f"{norm}.{part}"][:, None, None] for part in ("weight", "bias", "running_mean", "running_var")
        )
        return np.asarray((x - mean) / np.sqrt(variance + 1e-3) * scale + shift)

    x = relu6(step((pixels - 127) / 128, "_conv_stem", "_bn0", 2))
    for number, stride in enumerate((1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)):
        name = f"_blocks.{number}."
        y = relu6(step(x, f"{name}_expand_conv", f"{name}_bn0")) if number else x
        y = relu6(step(y, f"{name}_depthwise_conv", f"{name}_bn1", stride))
        y = step(y, f"{name}_project_conv", f"{name}_bn2")
        x = x + y if x.shape == y.shape else y
    return np.asarray(relu6(step(x, "_conv_head", "_bn1")).mean(axis=(1, 2)))


@pytest.fixture(scope="module")
def exact() -> Callable[[np.ndarray], np.ndarray]:
    """The graph in float32: photos uint8 [N, 64, 64, 3] to the last layer's means."""
    graph = Graph()
    x = graph.add("Transpose", graph.add("Cast", "photos", to=TensorProto.FLOAT), perm=[0, 3, 1, 2])
    layers = add_backbone(graph, x, backbone_weights("lite0"))
    graph.named("last", graph.add("ReduceMean", layers.head, graph.constant(np.array([2, 3])), keepdims=0))
    assert layers.channels == (16, 24, 24, 40, 40, 80, 80, 80, 112, 112, 112, 192, 192, 192, 192, 320)
    model = graph.model({"last": (TensorProto.FLOAT, ["N", 1280])}, 64)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda photos: np.asarray(session.run(None, {"photos": photos})[0])


def test_the_graph_computes_the_network(exact: Callable[[np.ndarray], np.ndarray]) -> None:
    """As plain numpy does, to a hundred-thousandth."""
    photos = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    expected = [computed(backbone_weights("lite0"), photo.transpose(2, 0, 1).astype(np.float64)) for photo in photos]
    assert np.allclose(exact(photos), expected, atol=1e-4)
