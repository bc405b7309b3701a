"""Prediction skew counts as error if image features changed, and as another class mix if they did not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scones.monitoring.drift.features import FEATURES
from scones.monitoring.drift.normal_scores import Floats, NormalScores
from scones.monitoring.performance.accuracy_estimate import PredictionSkew, reweight

BRIGHTNESS = FEATURES.index("brightness")
FEW, MANY = 30, 2000


def predicted(count: int, seed: int, second: float = 0.5, skew: float = 0.0) -> tuple[Floats, Floats, np.ndarray]:
    """Channels, calibrated answers, and which are right; the share *second* is of the second class.

    *skew* is added to the second class's log-odds, whatever the photo shows.
    """
    rng = np.random.default_rng(seed)
    labels = rng.random(count) < second
    # Normal log-odds of variance twice the mean are calibrated where both classes come as often.
    odds = rng.normal(np.where(labels, 2, -2), 2, count) + skew
    chance = 1 / (1 + np.exp(-odds))
    features = rng.normal(size=(count, len(FEATURES)))
    features[:, BRIGHTNESS] += np.where(labels, 0.3, -0.3)
    return features, np.column_stack([1 - chance, chance]), (odds > 0) == labels


@pytest.fixture(scope="module")
def normal_scores() -> NormalScores:
    """That of the clean photos."""
    return NormalScores.of(predicted(MANY, 0)[0])


@pytest.fixture(scope="module")
def balance(normal_scores: NormalScores) -> PredictionSkew:
    """What clean photos are like."""
    features, answers, right = predicted(MANY, 0)
    return PredictionSkew.fit(normal_scores, features, answers, float(right.mean()))


def test_clean_photos_are_believed_to_be_as_right_as_they_are(
    balance: PredictionSkew, normal_scores: NormalScores
) -> None:
    """Within what so many photos tell."""
    features, answers, right = predicted(MANY, 1)
    assert balance.confidence(normal_scores, features, answers) == pytest.approx(right.mean(), abs=0.02)


def test_a_lean_is_error_where_pictures_changed(balance: PredictionSkew, normal_scores: NormalScores) -> None:
    """Dark photos that are nearly all predicted as one class get the accuracy that they have."""
    features, answers, right = predicted(MANY, 2, skew=3)
    features[:, BRIGHTNESS] -= 2
    assert answers.max(axis=1).mean() > right.mean() + 0.15
    assert balance.confidence(normal_scores, features, answers) == pytest.approx(right.mean(), abs=0.03)


def test_a_lean_is_another_mix_where_pictures_did_not(balance: PredictionSkew, normal_scores: NormalScores) -> None:
    """Nine in ten of the second class: the pictures look as that class does, and nothing is reweighted."""
    features, answers, right = predicted(MANY, 3, second=0.9)
    assert balance.confidence(normal_scores, features, answers) == pytest.approx(right.mean(), abs=0.03)


def test_a_few_more_of_one_class_are_no_error(balance: PredictionSkew, normal_scores: NormalScores) -> None:
    """Of thirty dark photos six in ten may be of one class by chance."""
    features, answers, _ = predicted(FEW, 4, second=0.6)
    features[:, BRIGHTNESS] -= 2
    plain = answers.max(axis=1).mean()
    assert balance.confidence(normal_scores, features, answers) == pytest.approx(plain, abs=0.03)


@settings(deadline=None, max_examples=50)
@given(
    seed=st.integers(0, 2**32 - 1),
    classes=st.integers(2, 5),
    sharpness=st.floats(0.1, 4),
    skew=st.floats(0, 4),
)
def test_weighed_answers_name_each_class_as_often_as_asked(
    seed: int, classes: int, sharpness: float, skew: float
) -> None:
    """However confident the answers are, and whichever way they skew."""
    rng = np.random.default_rng(seed)
    logs = rng.normal(0, sharpness, (100, classes))
    logs[:, 0] += skew
    mix = rng.dirichlet(np.full(classes, 20.0))
    assert reweight(logs, mix).mean(axis=0) == pytest.approx(mix, abs=1e-3)
