"""A fitted network answers for photo and mirror image together."""

from collections.abc import Callable

import numpy as np
import pytest

from scones.training.fit import fit
from scones.training.messages import TrainingData
from scones.training.network import Network, distance, predict, reference_features, to_outputs
from scones.training.ood_detector import REFERENCE_PHOTOS
from scones.training.recipe import Recipe

Stripes = Callable[..., TrainingData]


@pytest.fixture(scope="module")
def trained(stripes: Stripes) -> tuple[Network, TrainingData]:
    """A network and what it saw."""
    data = stripes(300)
    return fit(data, Recipe(epochs=1), 0, lambda _epoch: None), data


def test_answers_are_the_same_for_a_mirror_image(trained: tuple[Network, TrainingData]) -> None:
    """Photo and mirror image are averaged, so turning one into the other changes nothing."""
    network, data = trained
    seen = predict(network, data.photos)
    answers = to_outputs(seen, reference_features(seen))
    mirrored = to_outputs(predict(network, np.ascontiguousarray(data.photos[:, :, ::-1])), reference_features(seen))
    assert (answers.log_probabilities.shape, answers.strangeness.shape) == ((300, 2), (300, 2))
    assert np.allclose(answers.log_probabilities, mirrored.log_probabilities, atol=1e-4)
    assert np.allclose(answers.strangeness, mirrored.strangeness, atol=1e-4)
    assert np.exp(answers.log_probabilities).sum(axis=1).max() <= 1 + 1e-5


def test_no_photos_get_no_answers(trained: tuple[Network, TrainingData]) -> None:
    """As when there are no outliers: empty, with the right shapes."""
    network, data = trained
    answers = to_outputs(predict(network, data.photos[:0]), reference_features(predict(network, data.photos)))
    assert (answers.log_probabilities.shape, answers.strangeness.shape) == ((0, 2), (0, 2))


def test_what_is_remembered_is_near(trained: tuple[Network, TrainingData]) -> None:
    """Training photos lie near their memory, whose features have length 1; noise lies farther off."""
    network, data = trained
    memory = reference_features(predict(network, data.photos))
    assert len(memory) <= REFERENCE_PHOTOS
    assert np.allclose(np.linalg.norm(memory, axis=1), 1, atol=1e-5)
    noise = np.random.default_rng(0).integers(0, 256, (50, 32, 32, 3), np.uint8)
    near, far = (to_outputs(predict(network, some), memory).strangeness[:, 1] for some in (data.photos, noise))
    assert near.max() < np.median(far)


def test_distance_is_the_mean_over_the_nearest_five() -> None:
    """By hand: five of six remembered directions are the photo's own."""
    here, elsewhere = np.eye(2, dtype=np.float32)
    memory = np.stack([here] * 5 + [elsewhere])
    assert np.allclose(distance(np.stack([here, elsewhere]), memory), [0, 0.8])
