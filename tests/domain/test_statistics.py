"""Confidence intervals of proportions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scones.domain.statistics import wilson_interval


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # Values of the closed form, as statsmodels and R's binom package print them.
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (190, 200, 0.9104, 0.9726)],
)
def test_wilson_intervals_are_the_published_ones(successes: int, n: int, low: float, high: float) -> None:
    """Four known intervals."""
    interval = wilson_interval(successes, n)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize("n", [1, 35, 200])
def test_none_and_all_end_exactly_at_the_ends(n: int) -> None:
    """Not at 7e-18, which is unreadable."""
    assert wilson_interval(0, n).low == 0
    assert wilson_interval(n, n).high == 1


@given(st.integers(1, 10_000), st.data())
def test_an_interval_holds_its_share(n: int, data: st.DataObject) -> None:
    """The observed share lies inside, and the ends within 0 and 1."""
    successes = data.draw(st.integers(0, n))
    interval = wilson_interval(successes, n)
    assert 0 <= interval.low <= successes / n + 1e-12
    assert successes / n - 1e-12 <= interval.high <= 1


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (2, 1), (-1, 3)])
def test_an_impossible_share_has_no_interval(successes: int, n: int) -> None:
    """More successes than trials is an error."""
    with pytest.raises(ValueError, match="successes"):
        wilson_interval(successes, n)


@pytest.mark.parametrize(
    ("level", "low", "high"), [(0.9, 0.3274, 0.6726), (0.95, 0.2993, 0.7007), (0.99, 0.2504, 0.7496)]
)
def test_a_higher_level_widens_the_interval(level: float, low: float, high: float) -> None:
    """Half of 20 trials."""
    interval = wilson_interval(10, 20, level)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-4)
