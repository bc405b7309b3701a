"""ONNX classifiers that were made elsewhere: a sound one, its variants, and those that cannot be registered."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from scones.data.sources.synthetic import render
from scones.training.registration import RegistrationOptions, write_job

SIDE = 48
CLASSES = ("bicycle", "motorcycle")
_FILTERS = 256
_MEAN, _DEVIATION = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])

Floats = np.ndarray[Any, np.dtype[np.float32]]


def drawings(split: str, count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """So many drawings of each class, [classes, count, SIDE, SIDE, 3]."""
    return np.array(
        [[np.asarray(render(name, split, number).resize((SIDE, SIDE))) for number in range(count)] for name in CLASSES]  # type: ignore[arg-type]
    )


def normalized(photos: np.ndarray[Any, np.dtype[np.uint8]]) -> Floats:
    """The input that the network was made for: NCHW, with ImageNet's mean and deviation."""
    return np.asarray((photos - _MEAN) / _DEVIATION, np.float32).transpose(0, 3, 1, 2)


@cache
def weights() -> tuple[Floats, Floats, Floats]:
    """Random filters, and the last layer's weights and bias, by least squares on drawings."""
    rng = np.random.default_rng(0)
    filters = rng.normal(0, 1 / 16, (_FILTERS, 3, 9, 9)).astype(np.float32)
    filters -= filters.mean(axis=(1, 2, 3), keepdims=True)
    photos = drawings("train", 150).reshape(-1, SIDE, SIDE, 3)
    labels = np.repeat([-1.0, 1.0], len(photos) // 2)
    graph = build([*features(filters)], "features", None)
    (found,) = onnxruntime.InferenceSession(graph.SerializeToString()).run(None, {"input": normalized(photos)})
    mean, spread = found.mean(axis=0), found.std(axis=0) + 1e-6
    rows = (found - mean) / spread
    fitted = np.linalg.solve(rows.T @ rows + 30 * np.eye(_FILTERS), rows.T @ labels) / spread
    half = np.array([[-1, 1]])
    return filters, (fitted[:, None] * half).astype(np.float32), (-(mean @ fitted) * half[0]).astype(np.float32)


def features(filters: Floats, pooling: str = "GlobalAveragePool") -> list[onnx.NodeProto | onnx.TensorProto]:
    """Nodes and constants from `input` to `features`, [N, 256]."""
    return [
        numpy_helper.from_array(filters, "filters"),
        helper.make_node("Conv", ["input", "filters"], ["maps"], pads=[4] * 4, strides=[2, 2]),
        helper.make_node("Relu", ["maps"], ["active"]),
        helper.make_node(pooling, ["active"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
    ]


def build(
    parts: Sequence[onnx.NodeProto | onnx.TensorProto],
    output: str,
    columns: int | None,
    *,
    shape: Sequence[int | str] = ("N", 3, SIDE, SIDE),
    kind: int = TensorProto.FLOAT,
    opset: int = 17,
) -> onnx.ModelProto:
    """A model of these nodes and constants from `input` to *output*."""
    nodes = [part for part in parts if isinstance(part, onnx.NodeProto)]
    constants = [part for part in parts if isinstance(part, onnx.TensorProto)]
    answers = helper.make_tensor_value_info(output, TensorProto.FLOAT, None if columns is None else [shape[0], columns])
    graph = helper.make_graph(nodes, "net", [helper.make_tensor_value_info("input", kind, shape)], [answers], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def network(
    *more: onnx.NodeProto | onnx.TensorProto,
    output: str = "logits",
    columns: int = 2,
    pooling: str = "GlobalAveragePool",
    order: Sequence[int] = (0, 1),
    **other: Any,
) -> onnx.ModelProto:
    """The sound classifier, with *more* nodes behind it; *order* says which class each output is of."""
    filters, linear, bias = weights()
    chosen = list(order)
    parts = [
        *features(filters, pooling),
        numpy_helper.from_array(np.ascontiguousarray(linear[:, chosen]), "linear"),
        numpy_helper.from_array(bias[chosen], "bias"),
        helper.make_node("Gemm", ["features", "linear", "bias"], ["logits"]),
        *more,
    ]
    return build(parts, output, columns, **other)


def give_job(
    folder: Path, model: onnx.ModelProto | bytes, count: int = 20, split: str = "test", **options: Any
) -> Path:
    """Write a registration job with *count* photos of each class."""
    file = folder / "model.onnx"
    folder.mkdir(parents=True, exist_ok=True)
    file.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    write_job(folder / "job", file, RegistrationOptions(CLASSES, "v", **options))
    for name, photos in zip(CLASSES, drawings(split, count), strict=True):
        place = folder / "job" / "input" / "data" / "training" / name
        place.mkdir(parents=True)
        for number, photo in enumerate(photos):
            Image.fromarray(photo).save(place / f"{number}.png")
    return folder / "job"
