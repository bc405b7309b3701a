"""Labels give an exact figure, correct confidence without bias, and are asked for where they tell most."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scones.monitoring.performance.labels import InvalidLabels, choose_photos, corrected_accuracy, labelled_accuracy

CONFIDENCE = hnp.arrays(np.float64, st.integers(3, 60), elements=st.floats(0.5, 1))


def too_sure(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Confidence, and which answers are right: fewer than it says."""
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.5, 1, count)
    return confidence, rng.random(count) < confidence - 0.2


def test_the_exact_figure_has_wilsons_interval() -> None:
    """8 of 10, by the formula; all of none is refused."""
    figure = labelled_accuracy(np.array([True] * 8 + [False] * 2))
    assert (figure.accuracy, figure.labels) == (0.8, 10)
    assert (figure.low, figure.high) == pytest.approx((0.541, 0.931), abs=0.001)
    with pytest.raises(InvalidLabels, match="label some"):
        labelled_accuracy(np.array([], bool))


@given(CONFIDENCE, st.integers(1, 80), st.integers(0, 1000))
def test_exactly_as_many_photos_are_chosen_as_asked(confidence: np.ndarray, count: int, seed: int) -> None:
    """Each once, or all where there are no more; chances are chances and add up."""
    choice = choose_photos(confidence, count, seed)
    assert len(set(choice.photos.tolist())) == len(choice.photos) == min(count, len(confidence))
    assert ((choice.chances > 0) & (choice.chances <= 1)).all()


def test_unsure_photos_are_chosen_more_often() -> None:
    """But even sure ones have a chance, since confidence may be wrong."""
    confidence = np.repeat([0.5, 0.999], 100)
    chosen = np.concatenate([choose_photos(confidence, 20, seed).photos for seed in range(50)])
    assert (chosen < 100).sum() > 2 * (chosen >= 100).sum() > 0


def test_corrected_confidence_is_unbiased_and_its_interval_holds() -> None:
    """Over 300 choices the mean is the truth, nine intervals in ten hold it, and confidence alone is far off."""
    confidence, right = too_sure(200, 0)
    truth, found = right.mean(), []
    for seed in range(300):
        choice = choose_photos(confidence, 30, seed)
        found.append(corrected_accuracy(confidence, choice, right[choice.photos]))
    assert confidence.mean() > truth + 0.12
    assert np.mean([figure.accuracy for figure in found]) == pytest.approx(truth, abs=0.02)
    assert np.mean([figure.low <= truth <= figure.high for figure in found]) >= 0.85


def test_all_labels_leave_no_doubt() -> None:
    """With every photo labelled the figure is the truth."""
    confidence, right = too_sure(50, 1)
    figure = corrected_accuracy(confidence, choose_photos(confidence, 50), right)
    assert figure.accuracy == pytest.approx(right.mean())
    assert figure.high - figure.low < 0.1


def test_labels_that_do_not_fit_are_refused() -> None:
    """One label for each chosen photo."""
    choice = choose_photos(np.full(10, 0.7), 5)
    with pytest.raises(InvalidLabels, match="give one for each"):
        corrected_accuracy(np.full(10, 0.7), choice, np.ones(4, bool))
