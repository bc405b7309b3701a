"""A model that tests can foresee: the brighter a photo, the likelier its second class."""

import io
import tarfile
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from scones.model.model_file import (
    BASELINE,
    MODEL,
    OUT_OF_FOLD,
    ModelDescription,
    ModelFile,
    read_model_file,
    write_model_file,
)
from scones.model.out_of_fold import OutOfFoldPredictions, fingerprints
from scones.monitoring.drift.baseline import Baseline
from scones.monitoring.drift.features import measure_features
from scones.monitoring.drift.stream_statistics import calibrate_stream

SIDE = 32
# Photos between these levels of gray get a probability between 0.02 and 0.98.
_STEEPNESS, _MIDDLE = 1 / 16, 128.0
FAMILIAR = 100.0
"""How far from the middle a photo's level may be for a model with a guard."""


def probability(level: float) -> float:
    """The probability of the second class for a plain gray photo, as the model computes it."""
    return float(1 / (1 + np.exp(-(level - _MIDDLE) * _STEEPNESS)))


def plain_photo(level: int) -> bytes:
    """A plain gray PNG."""
    return _png(np.full((SIDE, SIDE, 3), level, np.uint8))


def noisy_photos(count: int, seed: int) -> np.ndarray:
    """Photos [count, SIDE, SIDE, 3] of grays and noise, half of them on each side of the middle."""
    rng = np.random.default_rng(seed)
    levels = rng.uniform(60, 196, (count, 1, 1, 1))
    return np.clip(levels + rng.normal(0, 20, (count, SIDE, SIDE, 3)), 0, 255).astype(np.uint8)


def noisy_pngs(count: int, seed: int) -> list[bytes]:
    """The same, as PNG files."""
    return [_png(photo) for photo in noisy_photos(count, seed)]


def write_model(path: Path, *, breaks: bool = False, guarded: bool = False, swapped: bool = False) -> None:
    """Write the ONNX file; one that *breaks* answers only black photos, such as a server is warmed with.

    One that is *swapped* takes each class for the other.

    The unfamiliarity that a *guarded* one tells is how far the photo's level is from the middle; it also tells its
    evidence, in one place that is the whole photo.
    """
    nodes = [
        helper.make_node("Cast", ["photos"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        # Looks the level up in a table of one line: every other index is out of its bounds.
        helper.make_node("Cast", ["mean"], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "index"], ["level"])
        if breaks
        else helper.make_node("Identity", ["mean"], ["level"]),
        helper.make_node("Sub", ["level", "middle"], ["off"]),
        helper.make_node("MatMul", ["off", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    if guarded:
        nodes += [
            helper.make_node("Abs", ["off"], ["distance"]),
            helper.make_node("ReduceMean", ["distance", "one"], ["unfamiliarity"], keepdims=0),
            helper.make_node("Unsqueeze", ["logits", "places"], ["evidence"]),
        ]
    half = np.full((3, 1), (-1 if swapped else 1) * _STEEPNESS / 6, np.float32)
    constants = [
        numpy_helper.from_array(np.array([1, 2], np.int64), "axes"),
        numpy_helper.from_array(np.array([1], np.int64), "one"),
        numpy_helper.from_array(np.array([2, 3], np.int64), "places"),
        numpy_helper.from_array(np.zeros(1, np.float32), "table"),
        numpy_helper.from_array(np.array(_MIDDLE, np.float32), "middle"),
        numpy_helper.from_array(np.concatenate([-half, half], axis=1), "weights"),
    ]
    photos = helper.make_tensor_value_info("photos", TensorProto.UINT8, ["n", SIDE, SIDE, 3])
    probabilities = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 2])
    unfamiliarity = helper.make_tensor_value_info("unfamiliarity", TensorProto.FLOAT, ["n"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])
    evidence = helper.make_tensor_value_info("evidence", TensorProto.FLOAT, ["n", 2, 1, 1])
    outputs = [probabilities, unfamiliarity, logits, evidence] if guarded else [probabilities]
    graph = helper.make_graph(nodes, "tiny", [photos], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())


def write_tiny_model_file(
    folder: Path, *, breaks: bool = False, guarded: bool = False, swapped: bool = False
) -> ModelFile:
    """Write a complete model file round the model; it has seen noisy photos, and one in ten is answered wrongly."""
    folder.mkdir(parents=True)
    for name, body in _files(breaks=breaks, guarded=guarded, swapped=swapped).items():
        (folder / name).write_bytes(body)
    return read_model_file(folder)


@cache
def _files(*, breaks: bool, guarded: bool, swapped: bool) -> dict[str, bytes]:
    """The files of a model file, made once a process: measuring what it has seen takes a while."""
    with TemporaryDirectory() as folder:
        _write(Path(folder), breaks=breaks, guarded=guarded, swapped=swapped)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def _write(folder: Path, *, breaks: bool, guarded: bool, swapped: bool) -> None:
    write_model(folder / MODEL, breaks=breaks, guarded=guarded, swapped=swapped)
    photos = noisy_photos(400, seed=1)
    second = 1 / (1 + np.exp(-(photos.mean(axis=(1, 2, 3)) - _MIDDLE) * _STEEPNESS))
    answers = np.column_stack([1 - second, second])
    channels = measure_features(photos, answers)
    Baseline(channels, "test", calibrate_stream(channels[:100], rounds=1)).save(folder / BASELINE)
    classes = ("bicycle", "motorcycle")
    labels = tuple(classes[int((value > 0.5) != (index % 10 == 9))] for index, value in enumerate(second))
    names = tuple(f"{label}/{index}.png" for index, label in enumerate(labels))
    OutOfFoldPredictions(classes, names, labels, answers, fingerprints(photos)).save(folder / OUT_OF_FOLD)
    about = ModelDescription(
        classes=classes,
        image_size=SIDE,
        temperature=1.0,
        data_version="test",
        metrics={},
        created="2026-01-01T00:00:00Z",
        seed=0,
        unfamiliar_above=FAMILIAR if guarded else None,
    )
    write_model_file(folder, about, "A model for tests.\n")


def tar(folder: Path) -> bytes:
    """Tar a model file as SageMaker does."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, arcname=path.name)
    return buffer.getvalue()


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
