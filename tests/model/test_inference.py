"""The model serves only if it does what its model file says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from scones.model.inference import Model, ModelUnusable
from scones.model.model_file import read_model_file
from tiny_model import write_tiny_model_file


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model file."""
    folder = tmp_path_factory.mktemp("base")
    write_tiny_model_file(folder / "model")
    return folder


def test_a_batch_gives_what_its_photos_give_alone(base: Path) -> None:
    """Batching changes no answer."""
    model = Model(read_model_file(base / "model"))
    photos = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    together = model.predict(photos)
    alone = np.concatenate([model.predict(photos[index : index + 1]) for index in range(5)])
    assert together.shape == (5, 2)
    assert np.allclose(together, alone, atol=1e-6)


def test_a_model_of_other_classes_is_refused(base: Path) -> None:
    """Two columns are no answer for three classes."""
    model_file = replace(read_model_file(base / "model"), classes=("a", "b", "c"))
    with pytest.raises(ModelUnusable, match="2 numbers for 3 classes"):
        Model(model_file)


def test_a_model_of_another_size_is_refused(base: Path) -> None:
    """The model file's size must be the graph's."""
    with pytest.raises(ModelUnusable, match="ONNX Runtime cannot use it"):
        Model(replace(read_model_file(base / "model"), image_size=64))


def test_what_adds_up_to_more_than_one_is_refused(base: Path, tmp_path: Path) -> None:
    """A graph that ends before its softmax gives no probabilities."""
    model_file = read_model_file(base / "model")
    graph = onnx.load(model_file.model_path)
    graph.graph.node[-1].op_type = "Exp"
    del graph.graph.node[-1].attribute[:]
    path = tmp_path / "model.onnx"
    onnx.save(graph, path)
    with pytest.raises(ModelUnusable, match="add up to"):
        Model(replace(model_file, model_path=path))
