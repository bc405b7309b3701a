"""The exported model is the trained one, and needs nothing around it."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from scones.training.calibration import OodDetector, soften
from scones.training.export import OPSET, FittedModel, ParityError, check_parity, export
from scones.training.fit import fit
from scones.training.network import Network, predict, reference_features, to_outputs
from scones.training.recipe import FittedNetwork, Recipe, TrainingData

Stripes = Callable[..., TrainingData]


def trained_of(network: Network, data: TrainingData, temperature: float = 1.0) -> FittedModel:
    """As a training process sends it, with an OOD detector."""
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    fitted = FittedNetwork(weights, reference_features(predict(network, data.photos)))
    return FittedModel(fitted, OodDetector((0.7, 12.0), -2.5, 1.0), temperature, data.photos.shape[1])


@pytest.mark.parametrize(
    ("size", "classes"),
    [(32, 2), *(pytest.param(*larger, marks=pytest.mark.slow) for larger in ((50, 2), (64, 3), (96, 2)))],
)
def test_both_compute_the_same(stripes: Stripes, size: int, classes: int) -> None:
    """Over photos, pale ones, noisy ones and noise, for any size and number of classes, within a ten-thousandth."""
    torch.set_num_threads(1)
    data = stripes(60, size, classes)
    network = fit(data, Recipe(epochs=1), 0, lambda _epoch: None)
    noise = np.random.default_rng(0).integers(0, 256, data.photos.shape, dtype=np.uint8)
    photos = np.concatenate([data.photos, data.photos // 8, data.photos + noise // 8, noise])
    trained = trained_of(network, data, 0.8)
    assert (
        check_parity(export(trained), trained, photos, to_outputs(predict(network, photos), trained.fitted.memory))
        < 1e-4
    )


@pytest.fixture(scope="module")
def network_and_data(stripes: Stripes) -> tuple[Network, TrainingData]:
    """A network and what it saw."""
    data = stripes(60)
    return fit(data, Recipe(epochs=1), 0, lambda _epoch: None), data


def test_the_model_keeps_the_contract(network_and_data: tuple[Network, TrainingData]) -> None:
    """One input and two outputs by name and type, opset 18, any batch, no file beside it."""
    network, data = network_and_data
    model = export(trained_of(network, data))
    graph = onnx.load_from_string(model)
    assert [(o.domain, o.version) for o in graph.opset_import] == [("", OPSET)]
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (photos,), (answer, score) = session.get_inputs(), session.get_outputs()
    assert (photos.name, photos.type, photos.shape) == ("photos", "tensor(uint8)", ["N", 32, 32, 3])
    assert (answer.name, answer.type, answer.shape) == ("probabilities", "tensor(float)", ["N", 2])
    assert (score.name, score.type, score.shape) == ("unfamiliarity", "tensor(float)", ["N"])
    one, many = (session.run(None, {"photos": data.photos[:n]})[0] for n in (1, 9))
    assert np.allclose(one, many[:1], atol=1e-5)
    assert np.allclose(many.sum(axis=1), 1)


def test_a_noisy_photo_beside_them_leaves_the_answers_to_calm_ones(
    network_and_data: tuple[Network, TrainingData],
) -> None:
    """The dear way, which smooths, is taken by a whole batch: who shares one must not matter."""
    network, data = network_and_data
    session = onnxruntime.InferenceSession(export(trained_of(network, data)))
    calm, noise = data.photos[:4] // 6 + 100, np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    alone, beside = (session.run(None, {"photos": each}) for each in (calm, np.concatenate([calm, noise])))
    for one, other in zip(alone, beside, strict=True):
        assert np.allclose(one, other[: len(calm)], rtol=0, atol=1e-6)


def test_the_temperature_is_inside(network_and_data: tuple[Network, TrainingData]) -> None:
    """The answers are softened as calibration says."""
    network, data = network_and_data
    trained = trained_of(network, data, 3.0)
    session = onnxruntime.InferenceSession(export(trained))
    expected = soften(predict(network, data.photos).log_probabilities, 3.0)
    assert np.allclose(session.run(None, {"photos": data.photos})[0], expected, atol=1e-5)


def test_the_same_weights_give_the_same_bytes(network_and_data: tuple[Network, TrainingData]) -> None:
    """So the model file's version is that of its content."""
    trained = trained_of(*network_and_data)
    assert export(trained) == export(trained)


@pytest.mark.parametrize("change", [(5, 0, 0), (0, 0, 5)])
def test_a_difference_is_refused(network_and_data: tuple[Network, TrainingData], change: tuple[int, ...]) -> None:
    """A model of other weights does not leave training, nor one with another guard."""
    network, data = network_and_data
    right = trained_of(network, data)
    weights = dict(right.fitted.weights)
    weights["head.bias"] = weights["head.bias"] + np.array(change, dtype=np.float32)
    wrong = export(replace(right, fitted=replace(right.fitted, weights=weights)))
    with pytest.raises(ParityError, match="differs from the trained one"):
        check_parity(wrong, right, data.photos, to_outputs(predict(network, data.photos), right.fitted.memory))


def test_export_loads_no_torch() -> None:
    """The parent of the training processes does without it, and so does all that it imports."""
    code = "import sys, scones.training.train, scones.training.export; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
