"""An ONNX file of the user's serves as a backbone, or is refused with the reason and what to do."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from foreign_models import CLASSES, SIDE, build, drawings, features, weights
from scones.model.inference import Model
from scones.training.backbone import BackboneError
from scones.training.custom_backbone import InvalidBackbone, build_custom_backbone
from scones.training.features import TrainingData, open_session
from scones.training.sagemaker_entrypoint import InvalidTrainingJob, TrainingJob, read_hyperparameters
from scones.training.train import train

PARTS = features((weights()[0] / 58).astype(np.float32))
RELU = helper.make_node("Relu", ["active"], ["y"])


def network(output: str = "active", **options: object) -> bytes:
    """A network from RGB values 0 to 255 to maps, *active*, or to *features*."""
    parts = PARTS if output == "features" else PARTS[:3]
    return bytes(build(parts, output, None, **options).SerializeToString())  # type: ignore[arg-type]


def with_node(*nodes: onnx.NodeProto, output: str = "y", outputs: tuple[str, ...] = (), **options: object) -> bytes:
    """The network to maps, with more nodes behind it."""
    model = build([*PARTS[:3], *nodes], output, None, **options)  # type: ignore[arg-type]
    model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs)
    return bytes(model.SerializeToString())


def elsewhere() -> bytes:
    """The network with its filters in another file."""
    model = onnx.load_from_string(network())
    (filters,) = model.graph.initializer
    filters.ClearField("raw_data")
    filters.data_location = TensorProto.EXTERNAL
    filters.external_data.add(key="location", value="/etc/passwd")
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(("output", "places"), [("active", SIDE // 2), ("features", 0)])
@pytest.mark.parametrize("opset", [11, 13, 17, 20])
def test_maps_and_features_are_taken(output: str, places: int, opset: int) -> None:
    """The means over the places are the features; they follow what the network itself says."""
    found = build_custom_backbone(network(output, opset=opset))
    assert (found.image_size, found.width, found.last, found.places) == (SIDE, 256, slice(0, 256), places)
    photos = drawings("train", 2).reshape(-1, SIDE, SIDE, 3)
    (pooled,) = open_session(found.model).run(None, {"photos": photos})
    plain = open_session(network("features")).run(None, {"input": photos.transpose(0, 3, 1, 2).astype(np.float32)})[0]
    assert pooled.shape == (4, 256)
    # Restoration comes first, which changes flat drawings a little.
    assert np.corrcoef(pooled.ravel(), plain.ravel())[0, 1] > 0.9


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it has 0 graphs in place of one"),
        (b"not a model", "no ONNX model"),
        (b"\x80\x04\x95\x16\x00cposix\nsystem\n.", "ONNX"),
        (network()[:5000], "cut short"),
        (elsewhere(), "refers to data in another file; write it into one"),
        (with_node(helper.make_node("Mine", ["active"], ["y"], domain="my.ops")), "is of my.ops, which needs"),
        (with_node(helper.make_node("Loop", ["", "", "active"], ["y"])), "Loop may run without end"),
        (network(shape=("N", 3, "H", "W")), r"photos of \? x \? pixels, not of one fixed square size"),
        (network(shape=("N", 3, SIDE, "W")), r"48 x \? pixels, not of one fixed square"),
        (network(shape=("N", 3, SIDE, 2 * SIDE)), "48 x 96 pixels, not of one fixed square"),
        (network(shape=("N", 1, SIDE, SIDE)), "takes 1 channels"),
        (network(shape=("N", 3 * SIDE * SIDE)), "has the shape"),
        (network(kind=TensorProto.INT64), "its input takes int64"),
        (with_node(RELU, outputs=("active",)), r"it has 2 outputs \(.*\) in place"),
        (with_node(RELU, output="active", outputs=("y", "maps")), "has 3 outputs"),
        (with_node(helper.make_node("Flatten", ["active"], ["y"])), r"it gives float32 \[1, 147456\] for 1 photos"),
        (with_node(helper.make_node("ReduceMean", ["active"], ["y"], keepdims=0)), r"it gives float32 \[\]"),
        (with_node(helper.make_node("Log", ["maps"], ["y"])), "not finite"),
        (with_node(helper.make_node("Shape", ["active"], ["y"])), "ONNX Runtime .* cannot load it"),
        (with_node(helper.make_node("Slice", ["active"], ["y"])), "the backbone cannot be used"),
        (network(shape=(1, 3, SIDE, SIDE)).replace(b"GlobalAveragePool", b"GlobalAveragePoo_"), ""),
    ],
)  # fmt: skip
def test_a_file_with_another_interface_is_refused(data: bytes, words: str) -> None:
    """In one line that names the reason and what to do; a fixed batch is freed where the network allows it."""
    if not words:
        assert build_custom_backbone(data).width == 256
        return
    with pytest.raises(InvalidBackbone, match=words) as failure:
        build_custom_backbone(data)
    assert str(failure.value).startswith("the backbone cannot be used: ")
    assert "\n" not in str(failure.value)
    assert "; " in str(failure.value)


def test_a_file_with_another_hash_is_refused() -> None:
    """As one that changed on its way to the job."""
    with pytest.raises(BackboneError, match=f"its SHA-256 is {hashlib.sha256(network()).hexdigest()}, not 00ff"):
        build_custom_backbone(network(), "00ff")


@pytest.fixture
def job(tmp_path: Path, stripes: Callable[..., TrainingData]) -> TrainingJob:
    """A job with the network in its channel, and photos of stripes."""
    made, data, known = TrainingJob(tmp_path), network(), stripes(60, SIDE)
    for number, (label, photo) in enumerate(zip(known.labels.tolist(), known.photos, strict=True)):
        folder = made.channel / CLASSES[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo).save(folder / f"{number}.png")
    made.backbones.mkdir()
    name = f"{hashlib.sha256(data).hexdigest()}.onnx"
    (made.backbones / name).write_bytes(data)
    config = made.folder / "input" / "config" / "hyperparameters.json"
    config.parent.mkdir()
    config.write_text(json.dumps({"backbone": name}))
    return made


def test_a_model_is_trained_on_it_and_explains_itself(job: TrainingJob, stripes: Callable[..., TrainingData]) -> None:
    """A model file like any other; its card says whose backbone it is."""
    model_file = train(job)
    assert model_file.backbone.endswith(".onnx")
    assert model_file.image_size == SIDE
    others = stripes(40, SIDE, seed=9)
    photos, answers = others.photos, Model(model_file).answer(others.photos)[:, :2].argmax(axis=1)
    assert (answers == others.labels).mean() > 0.9
    session = open_session(model_file.model_path.read_bytes())
    logits, evidence = session.run(["logits", "evidence"], {"photos": photos})
    offset = logits - evidence.sum(axis=(2, 3))
    assert np.allclose(offset, offset[:1], atol=1e-2)
    assert "the user's own, `" in (job.model / "MODEL_CARD.md").read_text()


def test_a_backbone_that_is_not_in_the_channel_is_an_error(job: TrainingJob) -> None:
    """The job says which names it knows."""
    for path in job.backbones.iterdir():
        path.unlink()
    with pytest.raises(InvalidTrainingJob, match=r"lite0, lite2, or <SHA-256>\.onnx, a file in the channel"):
        read_hyperparameters(job)


def test_an_image_size_that_it_does_not_take_is_an_error(job: TrainingJob) -> None:
    """Its own size is fixed."""
    config = job.folder / "input" / "config" / "hyperparameters.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"image_size": "64"}))
    with pytest.raises(InvalidBackbone, match="takes photos of 48 pixels, and image_size is 64; set image_size to 0"):
        train(job)
