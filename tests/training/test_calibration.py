"""One temperature makes confidence mean what it says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from scones.training.calibration import (
    MAX_TEMPERATURE,
    MIN_TEMPERATURE,
    fit_temperature,
    negative_log_likelihood,
    soften,
)

LOGITS = arrays(np.float32, st.tuples(st.integers(1, 20), st.integers(2, 5)), elements=st.floats(-30, 30, width=32))


@given(logits=LOGITS, temperature=st.floats(MIN_TEMPERATURE, MAX_TEMPERATURE))
def test_softened_answers_are_probabilities_of_the_same_order(
    logits: np.ndarray[tuple[int, int], np.dtype[np.float32]], temperature: float
) -> None:
    """They sum to 1, and the likeliest class stays the likeliest."""
    probabilities = soften(logits, temperature)
    assert np.allclose(probabilities.sum(axis=1), 1)
    rows = np.arange(len(logits))
    assert np.allclose(probabilities[rows, logits.argmax(axis=1)], probabilities.max(axis=1))


@pytest.mark.parametrize("true_temperature", [0.5, 0.8, 1.0, 2.0])
def test_the_true_temperature_is_found(true_temperature: float) -> None:
    """Labels drawn at a temperature give it back."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20_000, 3))
    chance = rng.random((20_000, 1))
    labels = (soften(logits, true_temperature).cumsum(axis=1) < chance).sum(axis=1)
    assert fit_temperature(logits, labels) == pytest.approx(true_temperature, rel=0.05)


def test_a_faultless_model_is_not_made_certain() -> None:
    """Without a single error the temperature stops at its bound."""
    logits = np.array([[0.0, 3.0], [3.0, 0.0]])
    assert fit_temperature(logits, np.array([1, 0])) == pytest.approx(MIN_TEMPERATURE, rel=0.01)


def test_a_model_that_knows_nothing_is_not_made_silent() -> None:
    """Labels against every answer stop at the other bound."""
    logits = np.array([[0.0, 3.0], [3.0, 0.0]])
    assert fit_temperature(logits, np.array([0, 1])) == pytest.approx(MAX_TEMPERATURE, rel=0.01)


def test_the_likelihood_of_a_coin_is_known() -> None:
    """Half and half costs log 2."""
    assert negative_log_likelihood(np.full((4, 2), 0.5), np.array([0, 1, 0, 1])) == pytest.approx(np.log(2))
