"""The sampling plan measures with a random share, and learns from photos that teach most."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scones.data.labels import InvalidLabels, Purpose
from scones.monitoring.performance.sampling import CannotPlan, PlannedPhoto, informative, measured_accuracy, plan

Arrays = tuple[np.ndarray, np.ndarray]


def photos(count: int, seed: int = 0, classes: int = 2) -> Arrays:
    """Probabilities and features of photos of which the model is sure of most."""
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.full(classes, 0.3), count), rng.normal(size=(count, 8))


def places(planned: tuple[PlannedPhoto, ...], purpose: Purpose) -> list[int]:
    """The photos with this purpose."""
    return [photo.place for photo in planned if photo.purpose is purpose]


@settings(max_examples=50, deadline=None)
@given(
    photos_there=st.integers(0, 60),
    count=st.integers(-1, 70),
    classes=st.integers(1, 4),
    kinds=st.integers(1, 60),
    seed=st.integers(0, 9),
)
def test_each_photo_is_chosen_once_whatever_there_is(
    photos_there: int, count: int, classes: int, kinds: int, seed: int
) -> None:
    """No photos, fewer than wanted, copies of a few, one class: the number is right, and the plan is repeatable."""
    probabilities, features = photos(photos_there, seed, classes)
    copies = np.arange(photos_there) % kinds
    planned = plan(probabilities[copies], features[copies], count, seed)
    wanted = max(0, min(count, photos_there))
    assert len({photo.place for photo in planned}) == len(planned) == wanted
    measuring = places(planned, Purpose.MEASURE)
    assert len(measuring) == (wanted + 1) // 2
    assert planned == plan(probabilities[copies], features[copies], count, seed)


def test_every_photo_has_the_same_chance_to_measure() -> None:
    """Also those that the model is sure of; the chance is recorded."""
    probabilities, features = photos(40)
    plans = [plan(probabilities, features, 20, seed) for seed in range(400)]
    drawn = np.bincount([place for planned in plans for place in places(planned, Purpose.MEASURE)], minlength=40)
    assert {photo.chance for photo in plans[0] if photo.purpose is Purpose.MEASURE} == {0.25}
    # 400 x 1/4, with a deviation of 9.
    assert drawn.min() > 65
    assert drawn.max() < 140


def test_the_accuracy_of_the_plan_is_unbiased_though_unsure_photos_are_chosen() -> None:
    """On average over many plans it is that of all photos, and its interval holds in nine of ten."""
    rng = np.random.default_rng(1)
    confidence = rng.uniform(0.5, 1, 600)
    right = rng.random(600) < confidence - 0.1
    probabilities = np.column_stack([confidence, 1 - confidence])
    found = []
    for seed in range(200):
        planned = plan(probabilities, probabilities, 60, seed)
        found.append(measured_accuracy(confidence, planned, [bool(right[photo.place]) for photo in planned]))
    assert np.mean([each.accuracy for each in found]) == pytest.approx(right.mean(), abs=0.015)
    assert np.mean([each.low <= right.mean() <= each.high for each in found]) >= 0.85
    assert {each.labels for each in found} == {30}


def test_photos_that_people_skip_do_not_count() -> None:
    """Half of the measuring share without a label leaves the estimate as it was, with fewer labels."""
    confidence = np.full(200, 0.8)
    planned = plan(np.column_stack([confidence, 1 - confidence]), np.eye(200), 80)
    measuring = [photo for photo in planned if photo.purpose is Purpose.MEASURE]
    answered = measuring[:20]
    figure = measured_accuracy(confidence, answered, [number % 2 == 0 for number in range(20)])
    assert figure.accuracy == pytest.approx(0.5)
    assert figure.labels == 20


def test_labels_of_the_learning_share_alone_measure_nothing() -> None:
    """They were chosen because the model may be wrong."""
    planned = [PlannedPhoto(place, Purpose.LEARN, 1.0) for place in range(9)]
    with pytest.raises(InvalidLabels):
        measured_accuracy(np.full(30, 0.9), planned, [True] * 9)


def test_unsure_photos_teach() -> None:
    """All chosen ones are among those that the model is least sure of."""
    confidence = np.concatenate([np.full(300, 0.99), np.linspace(0.5, 0.7, 100)])
    probabilities = np.column_stack([confidence, 1 - confidence])
    chosen = informative(probabilities, np.random.default_rng(0).normal(size=(400, 5)), 10, np.random.default_rng(0))
    assert chosen.min() >= 300


def test_photos_that_teach_are_unlike_each_other_and_typical() -> None:
    """Of five dense groups of unsure photos one each, and none of the photos that are like no other."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.eye(5), 20, axis=0) + rng.normal(0, 0.02, (100, 5))
    features = np.concatenate([groups, -np.eye(5)[:1]])
    probabilities = np.full((101, 2), 0.5)
    for seed in range(5):
        chosen = informative(probabilities, features, 6, np.random.default_rng(seed))
        assert set(range(5)) <= {place // 20 for place in chosen.tolist()}


def test_copies_of_a_photo_are_chosen_last() -> None:
    """A hundred copies of one unsure photo do not use up the labels."""
    features = np.concatenate([np.ones((100, 3)), np.random.default_rng(0).normal(size=(9, 3))])
    chosen = informative(np.full((109, 2), 0.5), features, 10, np.random.default_rng(0))
    assert sorted(chosen.tolist())[1:] == list(range(100, 109))


@pytest.mark.parametrize(
    ("probabilities", "features"),
    [
        (np.full((3, 2), np.nan), np.ones((3, 2))),
        (np.ones((3, 2)), np.full((3, 2), np.inf)),
        (np.ones((3, 2)), np.ones((2, 2))),
        (np.ones(3), np.ones((3, 2))),
    ],
)
def test_photos_without_usable_answers_are_refused(probabilities: np.ndarray, features: np.ndarray) -> None:
    """NaN, infinity, and arrays that do not belong together."""
    with pytest.raises(CannotPlan):
        plan(probabilities, features, 2)
