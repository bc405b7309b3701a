"""Calibration compares confidence with accuracy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scones.evaluation.metrics import (
    accuracy_at,
    calibration_error,
    error_by_chance,
    reliability_bins,
    risk_coverage,
    thin_curve,
    undo_temperature,
)


def test_bins_hold_their_own_photos() -> None:
    """Two photos of about 70% and one of 99%: two bins, with means and shares of their own."""
    bins = reliability_bins(np.array([True, False, True]), np.array([0.69, 0.71, 0.99]))
    assert [(part.n, part.accuracy) for part in bins] == [(2, 0.5), (1, 1.0)]
    assert bins[0].confidence == pytest.approx(0.7)
    assert bins[0].interval.low < 0.5 < bins[0].interval.high
    assert [(part.low, part.high) for part in bins] == [(10 / 15, 11 / 15), (14 / 15, 1.0)]


def test_calibration_error_is_zero_for_honest_confidence() -> None:
    """Three of four right at 75% is no error; all right at 75% is one of 25 points."""
    confidence = np.full(4, 0.75)
    assert calibration_error(np.array([True, True, True, False]), confidence) == pytest.approx(0)
    assert calibration_error(np.full(4, True), confidence) == pytest.approx(0.25)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=60))
def test_the_bins_are_those_of_the_calibration_error(answers: list[tuple[bool, float]]) -> None:
    """Their gaps, weighted by their photos, are the error; no photo is lost."""
    right = np.array([flag for flag, _ in answers])
    confidence = np.array([value for _, value in answers])
    bins = reliability_bins(right, confidence)
    assert sum(part.n for part in bins) == len(answers)
    gap = sum(part.n * abs(part.accuracy - part.confidence) for part in bins) / len(answers)
    assert gap == pytest.approx(calibration_error(right, confidence), abs=1e-9)


@given(st.floats(0.25, 4), st.lists(st.floats(-6, 6), min_size=3, max_size=3))
def test_a_temperature_is_undone_exactly(temperature: float, logits: list[float]) -> None:
    """Softening what the model said gives what it now says; undoing that gives the first again."""
    raw = np.exp(logits) / np.exp(logits).sum()
    softened = raw ** (1 / temperature)
    softened /= softened.sum()
    assert undo_temperature(softened[None], temperature)[0] == pytest.approx(raw, abs=1e-9)


def test_each_photo_is_undone_alone() -> None:
    """Rows do not weigh each other."""
    table = np.array([[0.9, 0.1], [0.4, 0.6]])
    assert undo_temperature(table, 2.0) == pytest.approx(np.vstack([undo_temperature(row[None], 2.0) for row in table]))


def test_certainty_survives() -> None:
    """Probabilities of 0 and 1 stay what they are."""
    assert undo_temperature(np.array([[0.0, 1.0]]), 0.8)[0] == pytest.approx([0, 1])


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
    # The nearest share above a rounding error of .5, and .5 itself.
    assert accuracy_at(0.5 + 1e-10, curve) == accuracy_at(0.5, curve) == 0.5
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
    thin = thin_curve(curve)
    assert len(thin) == 200
    assert (thin[0], thin[-1]) == (curve[0], curve[-1])


def test_few_photos_show_a_calibration_error_by_chance() -> None:
    """Even of a perfect model; the more photos, the less, and the same for the same seed."""
    confidence = np.random.default_rng(0).uniform(0.5, 1, 4000)
    few, many = error_by_chance(confidence[:100], 0), error_by_chance(confidence, 0)
    assert few > 3 * many > 0
    assert few == error_by_chance(confidence[:100], 0)
    assert error_by_chance(np.ones(10), 0) == 0
