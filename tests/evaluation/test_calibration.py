"""Reliability says how confidence and truth go together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scones.evaluation.calibration import before_temperature, reliability
from scones.evaluation.metrics import calibration_error


def test_bins_hold_their_own_photos() -> None:
    """Two photos of about 70% and one of 99%: two bins, with means and shares of their own."""
    bins = reliability(np.array([True, False, True]), np.array([0.69, 0.71, 0.99]))
    assert [(part.n, part.accuracy) for part in bins] == [(2, 0.5), (1, 1.0)]
    assert bins[0].confidence == pytest.approx(0.7)
    assert bins[0].interval.low < 0.5 < bins[0].interval.high


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=60))
def test_the_bins_are_those_of_the_calibration_error(answers: list[tuple[bool, float]]) -> None:
    """Their gaps, weighted by their photos, are the error; no photo is lost."""
    right = np.array([flag for flag, _ in answers])
    confidence = np.array([value for _, value in answers])
    bins = reliability(right, confidence)
    assert sum(part.n for part in bins) == len(answers)
    gap = sum(part.n * abs(part.accuracy - part.confidence) for part in bins) / len(answers)
    assert gap == pytest.approx(calibration_error(right, confidence), abs=1e-9)


@given(st.floats(0.25, 4), st.lists(st.floats(-6, 6), min_size=3, max_size=3))
def test_a_temperature_is_undone_exactly(temperature: float, logits: list[float]) -> None:
    """Softening what the model said gives what it now says; undoing that gives the first again."""
    raw = np.exp(logits) / np.exp(logits).sum()
    softened = raw ** (1 / temperature)
    softened /= softened.sum()
    assert before_temperature(softened[None], temperature)[0] == pytest.approx(raw, abs=1e-9)


def test_certainty_survives() -> None:
    """Probabilities of 0 and 1 stay what they are."""
    assert before_temperature(np.array([[0.0, 1.0]]), 0.8)[0] == pytest.approx([0, 1])
