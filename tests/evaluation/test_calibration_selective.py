"""Passing the unsure photos on makes the rest better, or shows that it does not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scones.evaluation.calibration import accuracy_at, risk_coverage, thinned

answers = st.lists(st.tuples(st.booleans(), st.sampled_from([0.5, 0.6, 0.7, 0.8, 0.9, 0.99])), min_size=1, max_size=80)


def test_four_photos_by_hand() -> None:
    """The surest is right, the second wrong, the others right."""
    curve = risk_coverage(np.array([True, False, True, True]), np.array([0.9, 0.8, 0.7, 0.6]))
    assert [(point.coverage, point.risk) for point in curve] == [
        (0.25, 0.0),
        (0.5, 0.5),
        (0.75, pytest.approx(1 / 3)),
        (1.0, 0.25),
    ]
    assert accuracy_at(0.25, curve) == 1
    assert accuracy_at(0.6, curve) == pytest.approx(2 / 3)


@given(answers)
def test_the_curve_ends_with_all_photos(photos: list[tuple[bool, float]]) -> None:
    """Coverage grows to 1, where the risk is the error rate; equal confidences are one point."""
    right, confidence = np.array([flag for flag, _ in photos]), np.array([value for _, value in photos])
    curve = risk_coverage(right, confidence)
    assert [p.coverage for p in curve] == sorted(p.coverage for p in curve)
    assert len(curve) == len(set(confidence.tolist()))
    assert curve[-1].coverage == 1
    assert accuracy_at(1.0, curve) == pytest.approx(right.mean())
    for point in curve:
        accepted = confidence >= point.threshold
        assert point.coverage == pytest.approx(accepted.mean())
        assert point.risk == pytest.approx(1 - right[accepted].mean())


def test_a_long_curve_keeps_its_ends() -> None:
    """A chart needs no more than 200 points."""
    rng = np.random.default_rng(0)
    curve = risk_coverage(rng.random(5000) < 0.9, rng.random(5000))
    thin = thinned(curve)
    assert len(thin) == 200
    assert (thin[0], thin[-1]) == (curve[0], curve[-1])
