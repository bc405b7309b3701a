"""Suspected label errors come worst first, and only where the answer differs from the label."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from scones.model.out_of_fold import InvalidLabelledPredictions
from scones.training.label_issues import SuspectLabel, neighbor_votes, rank_label_issues

CLASSES = ("bicycle", "motorcycle", "van")


def test_the_surest_contradiction_comes_first() -> None:
    """A photo answered as it is labelled is no suspect, however unsure the answer."""
    probabilities = np.array([[0.4, 0.3, 0.3], [0.2, 0.7, 0.1], [0.9, 0.05, 0.05]])
    assert rank_label_issues(("a", "b", "c"), ("bicycle", "bicycle", "van"), probabilities, CLASSES) == (
        SuspectLabel("c", "van", "bicycle", 0.9),
        SuspectLabel("b", "bicycle", "motorcycle", 0.7),
    )


@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_every_contradiction_is_a_suspect_once(seed: int, count: int) -> None:
    """None is lost, none doubled, and doubt falls down the list."""
    probabilities, labels = _answers(seed, count)
    names = [str(number) for number in range(count)]
    found = rank_label_issues(names, labels, probabilities, CLASSES)
    said = [CLASSES[number] for number in probabilities.argmax(axis=1)]
    assert sorted(one.name for one in found) == sorted(
        name for name, label, answer in zip(names, labels, said, strict=True) if label != answer
    )
    left = [probabilities[int(one.name), CLASSES.index(one.label)] for one in found]
    assert left == sorted(left)


def test_a_flipped_label_is_outvoted_by_the_photos_most_like_it() -> None:
    """Two clouds of features; of each a few have the other's label, and one network believes every label."""
    rng = np.random.default_rng(0)
    truth = np.arange(200) % 2
    directions = np.eye(8)[truth] + rng.normal(0, 0.2, (200, 8))
    features = (directions / np.linalg.norm(directions, axis=1, keepdims=True)).astype(np.float32)
    labels = truth.copy()
    flipped = [3, 50, 121]
    labels[flipped] = 1 - labels[flipped]
    believed = np.where(np.eye(2)[labels] > 0, 0.9, 0.1)
    votes = neighbor_votes(features, labels, believed)
    assert votes.sum(axis=1) == pytest.approx(np.ones(200))
    names = [str(place) for place in range(200)]
    found = rank_label_issues(names, [CLASSES[number] for number in labels], believed, CLASSES[:2], votes)
    assert sorted(int(one.name) for one in found) == flipped
    assert rank_label_issues(names, [CLASSES[number] for number in labels], believed, CLASSES[:2]) == ()


@pytest.mark.parametrize("count", [2, 9, 300])
def test_every_class_can_win_its_own_vote(count: int) -> None:
    """However few photos there are: a quarter of the smallest class votes at the most, and one at least."""
    labels = np.arange(count) % 2
    features = np.eye(2, dtype=np.float32)[labels] + 0.01 * np.random.default_rng(1).random((count, 2), np.float32)
    votes = neighbor_votes(features, labels, np.full((count, 2), 0.5))
    if count > 2:
        assert (votes.argmax(axis=1) == labels).all()
    assert votes.shape == (count, 2)


def test_what_either_contradicts_is_a_suspect() -> None:
    """The votes say in which order, and for what the photo is taken; the answers alone can make it one."""
    probabilities = np.array([[0.9, 0.1, 0.0], [0.3, 0.7, 0.0], [0.2, 0.1, 0.7]])
    votes = np.array([[0.2, 0.1, 0.7], [0.6, 0.4, 0.0], [0.1, 0.1, 0.8]])
    found = rank_label_issues(("a", "b", "c"), ("bicycle", "bicycle", "van"), probabilities, CLASSES, votes)
    assert found == (SuspectLabel("a", "bicycle", "van", 0.7), SuspectLabel("b", "bicycle", "motorcycle", 0.4))


def _answers(seed: int, count: int) -> tuple[NDArray[np.float64], list[str]]:
    rng = np.random.default_rng(seed)
    return rng.dirichlet([1, 1, 1], count), [CLASSES[number] for number in rng.integers(0, 3, count)]


def test_an_unknown_label_is_named() -> None:
    """Labels and classes must be of one task."""
    with pytest.raises(InvalidLabelledPredictions, match="'lorry' is none of the model's classes"):
        rank_label_issues(("a",), ("lorry",), np.array([[0.4, 0.3, 0.3]]), CLASSES)
