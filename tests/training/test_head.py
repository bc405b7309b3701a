"""The head: linear in the features, fair to small classes, and the same whichever way it is written."""

import numpy as np
import pytest

from scones.training.head import COMPONENTS, Head, LayerGroups, distance, fit_head, fit_logistic, unit
from training.conftest import Study

PENALTIES = {"layers": 0.01, "last": 0.01, "imagenet": 0.01}


def test_weights_on_components_are_weights_on_features(studied: Study) -> None:
    """The logits of a group are the same by its components as by the features."""
    groups, rng = studied.study.groups, np.random.default_rng(0)
    for name, components in groups.components.items():
        weights, bias = rng.normal(size=(components.shape[-1], 3)).astype(np.float32), rng.normal(size=3)
        by_features, shift = groups.to_features(name, weights, bias.astype(np.float32))
        for view, features in enumerate(studied.study.views):
            expected = components[view] @ weights + bias
            assert np.allclose(features.astype(np.float32) @ by_features + shift, expected, atol=2e-2 * expected.std())


def test_components_are_standardized_and_few(studied: Study) -> None:
    """Centered on the photos, and no more than the photos, the features or the limit allow."""
    for components in studied.study.groups.components.values():
        assert components.shape[-1] <= min(COMPONENTS, len(studied.data.photos))
        assert np.abs(components[0].mean(axis=0)).max() < 0.05


def test_components_do_not_depend_on_chance(studied: Study) -> None:
    """Twice the same, to the last bit."""
    again = LayerGroups(studied.study.views, studied.backbone.last, None)
    for name, components in again.components.items():
        assert np.array_equal(components, studied.study.groups.components[name])


def test_photos_of_one_class_look_more_alike(studied: Study) -> None:
    """By few components of length 1, the nearest photo is of the same class nearly always."""
    alike = studied.study.groups.whitened()
    assert np.allclose(np.linalg.norm(alike, axis=1), 1, atol=1e-5)
    likeness = alike @ alike.T - 3 * np.eye(len(alike))
    assert (studied.data.labels[likeness.argmax(axis=1)] == studied.data.labels).mean() > 0.8


@pytest.mark.parametrize("classes", [2, 3])
def test_a_small_class_counts_as_much_as_a_large_one(classes: int) -> None:
    """Of overlapping classes, the boundary does not move towards the small one."""
    rng = np.random.default_rng(0)
    count = np.array([300, *[30] * (classes - 1)])
    labels = np.repeat(np.arange(classes), count)
    corners = 2 * np.eye(classes)
    rows = (corners[labels] + rng.normal(size=(len(labels), classes))).astype(np.float32)
    ((weights, bias),) = fit_logistic(rows[None], labels, classes, (1.0,))
    right = (rows @ weights + bias).argmax(axis=1) == labels
    recalls = [right[labels == number].mean() for number in range(classes)]
    assert np.ptp(recalls) < 0.2
    assert (weights.shape, bias.shape) == ((classes, classes), (classes,))


def test_a_stronger_penalty_gives_smaller_weights(studied: Study) -> None:
    """And each is fitted as if alone."""
    components = studied.study.groups.components["last"]
    strong, weak = fit_logistic(components, studied.data.labels, 3, (1e-3, 1e-1))
    (alone,) = fit_logistic(components, studied.data.labels, 3, (1e-3,))
    assert np.abs(strong[0]).sum() < np.abs(weak[0]).sum()
    assert np.array_equal(strong[0], alone[0])


@pytest.fixture(scope="module")
def head(studied: Study) -> Head:
    """Fitted to all photos."""
    everything, others = np.arange(len(studied.data.labels)), np.arange(len(studied.study.outliers))
    return fit_head(studied.study, PENALTIES, everything, others)


def test_the_classes_are_learnt_and_other_things_told_apart(studied: Study, head: Head) -> None:
    """Probabilities that add up to 1; outliers have a higher logit and a larger distance."""
    known, other = head.ask(studied.study.views[0]), head.ask(studied.study.outliers)
    assert np.allclose(np.exp(known.log_probabilities).sum(axis=1), 1, atol=1e-5)
    assert (known.log_probabilities.argmax(axis=1) == studied.data.labels).mean() > 0.95
    assert (other.strangeness[:, 0] > 0).all()
    assert (known.strangeness[:, 0] < 0).all()
    assert other.strangeness[:, 1].mean() > known.strangeness[:, 1].mean()


def test_without_outliers_their_logit_says_nothing(studied: Study) -> None:
    """It is the same for all."""
    head = fit_head(studied.study, PENALTIES, np.arange(60), np.arange(0))
    assert set(head.ask(studied.study.views[0]).strangeness[:, 0].tolist()) == {0.0}


def test_a_remembered_photo_is_near(head: Head, studied: Study) -> None:
    """Its own distance is 0 but for its four neighbors; memory has rows of length 1."""
    assert np.allclose(np.linalg.norm(head.memory, axis=1), 1, atol=1e-5)
    copies = np.repeat(head.memory[:1], 5, axis=0)
    assert np.allclose(distance(head.memory[:1], copies), 0, atol=1e-6)
    assert np.allclose(unit(np.zeros((1, 3), np.float32)), 0)
    assert len(head.memory) == len(studied.data.labels)
