"""The exported model is the trained one, and needs nothing around it."""

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from scones.vision.calibration import soften
from scones.vision.export import OPSET, ParityError, check_parity, export
from scones.vision.fit import fit, predict
from scones.vision.messages import Labelled, Weights
from scones.vision.model import Network
from scones.vision.recipe import Recipe

Stripes = Callable[..., Labelled]


def weights_of(network: Network) -> Weights:
    """As a training process sends them."""
    return {name: value.numpy() for name, value in network.state_dict().items()}


@pytest.mark.parametrize(("size", "classes"), [(32, 2), (50, 2), (64, 3), (96, 2)])
def test_both_compute_the_same(stripes: Stripes, size: int, classes: int) -> None:
    """Over photos and noise, for any size and number of classes, within a hundred-thousandth."""
    torch.set_num_threads(1)
    data = stripes(60, size, classes)
    network = fit(data, Recipe(epochs=1), 0, lambda _epoch: None)
    photos = np.concatenate([data.photos, np.random.default_rng(0).integers(0, 256, data.photos.shape, dtype=np.uint8)])
    model = export(weights_of(network), image_size=size, temperature=0.8)
    assert check_parity(model, photos, predict(network, photos), 0.8) < 1e-5


@pytest.fixture
def trained(stripes: Stripes) -> tuple[Network, Labelled]:
    """A network and what it saw."""
    data = stripes(60)
    return fit(data, Recipe(epochs=1), 0, lambda _epoch: None), data


def test_the_model_keeps_the_contract(trained: tuple[Network, Labelled]) -> None:
    """One input and one output by name and type, opset 18, any batch, no file beside it."""
    network, data = trained
    model = export(weights_of(network), image_size=32, temperature=1.0)
    graph = onnx.load_from_string(model)
    assert [(o.domain, o.version) for o in graph.opset_import] == [("", OPSET)]
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (photos,), (answer,) = session.get_inputs(), session.get_outputs()
    assert (photos.name, photos.type, photos.shape) == ("photos", "tensor(uint8)", ["N", 32, 32, 3])
    assert (answer.name, answer.type, answer.shape) == ("probabilities", "tensor(float)", ["N", 2])
    one, many = (session.run(None, {"photos": data.photos[:n]})[0] for n in (1, 9))
    assert np.allclose(one, many[:1], atol=1e-5)
    assert np.allclose(many.sum(axis=1), 1)


def test_the_temperature_is_inside(trained: tuple[Network, Labelled]) -> None:
    """The answers are softened as calibration says."""
    network, data = trained
    session = onnxruntime.InferenceSession(export(weights_of(network), image_size=32, temperature=3.0))
    expected = soften(predict(network, data.photos), 3.0)
    assert np.allclose(session.run(None, {"photos": data.photos})[0], expected, atol=1e-5)


def test_the_same_weights_give_the_same_bytes(trained: tuple[Network, Labelled]) -> None:
    """So the artefact's version is that of its content."""
    weights = weights_of(trained[0])
    assert export(weights, image_size=32, temperature=1.0) == export(weights, image_size=32, temperature=1.0)


def test_a_difference_is_refused(trained: tuple[Network, Labelled]) -> None:
    """A model of other weights does not leave training."""
    network, data = trained
    weights = dict(weights_of(network))
    weights["head.bias"] = weights["head.bias"] + np.array([5, 0], dtype=np.float32)
    with pytest.raises(ParityError, match="differs from the trained one"):
        check_parity(export(weights, image_size=32, temperature=1.0), data.photos, predict(network, data.photos), 1.0)


def test_export_loads_no_torch() -> None:
    """The parent of the training processes does without it, and so does all that it imports."""
    code = "import sys, scones.runtime.train, scones.vision.export; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
