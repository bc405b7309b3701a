"""The class mix is found from unsure answers, and kept back where photos changed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scones.monitoring.alerts.cause import estimate_mix, mix_can_be_shown
from scones.monitoring.drift.window_test import FeatureShift, WindowVerdict


def answers(count: int, share: float, seed: int) -> np.ndarray:
    """Calibrated answers of a model that was taught even classes, to photos of which *share* is of the first."""
    rng = np.random.default_rng(seed)
    first = rng.random(count) < share
    odds = np.exp(np.where(first, 1, -1) * 1.0 + rng.normal(size=count) * np.sqrt(2.0))
    return np.asarray(np.column_stack([odds, np.ones(count)]) / (1 + odds)[:, None])


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_the_mix_is_found(share: float) -> None:
    """Within a few points, where counting winners would be far off."""
    assert estimate_mix(answers(4000, share, 0), [0.5, 0.5])[0] == pytest.approx(share, abs=0.05)


@given(st.integers(0, 50), st.floats(0, 1), st.integers(0, 1000))
def test_a_mix_is_always_one(count: int, share: float, seed: int) -> None:
    """Shares lie between 0 and 1 and add up to 1, and no photos leave the baseline's."""
    mix = estimate_mix(answers(count, share, seed), [0.3, 0.7])
    assert sum(mix) == pytest.approx(1)
    assert all(0 <= part <= 1 for part in mix)
    if not count:
        assert mix == pytest.approx((0.3, 0.7))


@pytest.mark.parametrize(
    ("loud", "shown"), [("", True), ("log_odds", True), ("brightness", False), ("ood_score", False)]
)
def test_it_is_shown_only_where_the_photos_are_as_they_were(loud: str, shown: bool) -> None:
    """Dark or out-of-distribution photos look like another mix."""
    names = ("log_odds", "brightness", "ood_score")
    shifts = tuple(FeatureShift(name, 0, 1, 9 if name == loud else 0) for name in names)
    assert mix_can_be_shown(WindowVerdict(True, True, 100, 9, 2, shifts)) is shown
    assert not mix_can_be_shown(WindowVerdict(False, False, 5, 0, 0, ()))
