"""One number is shared out between the detectors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scones.config.settings import MAX_PER_THOUSAND, MAX_RATE, MIN_PER_THOUSAND, MIN_RATE
from scones.monitoring.drift.normal_scores import MIN_PHOTOS
from scones.monitoring.drift.window_test import FalseAlarmBudget, InvalidBudget

NUMBERS = st.floats(MIN_PER_THOUSAND, MAX_PER_THOUSAND)


@given(NUMBERS, st.integers(20, 1000))
def test_both_detectors_together_keep_the_budget(number: float, photos: int) -> None:
    """Windows that fill 1,000 photos and the stream expect no more false alarms than the user allowed."""
    budget = FalseAlarmBudget(number)
    assert budget.of_window(photos) * 1000 / photos + budget.of_stream() <= number


@given(NUMBERS)
def test_the_min_window_can_be_calibrated(number: float) -> None:
    """From that many photos on, the rate is one that a check accepts; it is never under twenty."""
    budget = FalseAlarmBudget(number)
    assert budget.min_window() >= MIN_PHOTOS
    assert MIN_RATE * (1 - 1e-9) <= budget.of_window(budget.min_window()) <= MAX_RATE


@pytest.mark.parametrize("number", [0, -1, 0.001, 5, float("nan")])
def test_what_cannot_be_promised_is_refused(number: float) -> None:
    """No false alarm ever, or one all the time, is no budget."""
    with pytest.raises(InvalidBudget, match="choose"):
        FalseAlarmBudget(number)
