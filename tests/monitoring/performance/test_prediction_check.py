"""Replay finds another model within a few photos, and takes numerics for what they are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scones.monitoring.performance.prediction_check import TOLERANCE, UnmatchedPredictions, check_predictions

SURE = hnp.arrays(np.float64, st.integers(5, 30), elements=st.floats(0.6, 1)).map(lambda p: np.column_stack([p, 1 - p]))


@given(SURE)
def test_swapped_answers_are_found_after_two_photos(answers: np.ndarray) -> None:
    """Every confident photo differs, and the second one makes it certain."""
    found = check_predictions(answers[:, ::-1], answers)
    assert (found.another_model, found.found_after) == (True, 2)


@given(SURE, st.integers(0, 1000))
def test_numerics_are_no_mismatch(answers: np.ndarray, seed: int) -> None:
    """Differences within the tolerance, as int8 makes them, count for nothing."""
    shaken = answers + np.random.default_rng(seed).uniform(-0.99, 0.99, answers.shape) * TOLERANCE
    found = check_predictions(shaken, answers)
    assert (found.mismatches, found.another_model) == ((), False)


def test_one_odd_photo_is_named_but_no_verdict() -> None:
    """A photo that was captured badly is not another model."""
    answers = np.full((9, 2), 0.5)
    odd = answers.copy()
    odd[4] = [0.9, 0.1]
    found = check_predictions(odd, answers)
    assert (found.mismatches, found.found_after) == ((4,), None)
    assert found.largest == pytest.approx(0.4)


def test_an_answer_that_is_no_number_is_a_mismatch() -> None:
    """What cannot be compared does not pass as the same."""
    assert check_predictions(np.full((2, 2), np.nan), np.full((2, 2), 0.5)).another_model


def test_no_photos_say_nothing() -> None:
    """Nothing was replayed, and nothing is claimed."""
    assert check_predictions(np.empty((0, 2)), np.empty((0, 2))).photos == 0


def test_answers_of_other_shapes_are_refused() -> None:
    """Three classes cannot be compared with two."""
    with pytest.raises(UnmatchedPredictions, match="captured predictions are"):
        check_predictions(np.zeros((2, 3)), np.zeros((2, 2)))
