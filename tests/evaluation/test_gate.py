"""The gate opens only for what was asked, and says what was missed."""

from dataclasses import replace

import numpy as np
import pytest

from scones.evaluation.comparison import compare
from scones.evaluation.gate import Floors, GateMissed, check_floors, not_worse, require
from scones.evaluation.metrics import evaluate_predictions

CLASSES = ("bicycle", "motorcycle")
LOW = Floors(accuracy=0.1, calibration_error=0.9, coverage=0.1, accuracy_covered=0.1)
EVALUATION = evaluate_predictions(["bicycle"] * 20, np.array([[0.9, 0.1]] * 19 + [[0.4, 0.6]]), CLASSES, 0.8)


def test_a_model_above_every_floor_passes() -> None:
    """Nothing is raised."""
    require(check_floors(EVALUATION, LOW))


@pytest.mark.parametrize(
    ("floor", "value", "words"),
    [
        ("accuracy", 0.9, r"gate_accuracy: .*95% interval of accuracy is 0\.76387, not >= 0\.9"),
        ("calibration_error", 0.01, r"gate_calibration_error: .* is 0\.\d{5}, not <= 0\.01"),
        ("coverage", 0.99, r"gate_coverage: .* is 0\.95000, not >= 0\.99"),
        ("accuracy_covered", 0.9, r"gate_accuracy_covered: .* is 0\.8318\d, not >= 0\.9"),
    ],
)
def test_a_missed_floor_is_named_with_what_was_measured(floor: str, value: float, words: str) -> None:
    """Which setting, what was found, what was asked; shares by the lower end of their interval."""
    with pytest.raises(GateMissed, match=words) as missed:
        require(check_floors(EVALUATION, replace(LOW, **{floor: value})))
    assert len(missed.value.missed) == 1


def test_nothing_measured_is_not_enough() -> None:
    """Where no photo is covered, the floor of covered ones is missed."""
    unsure = evaluate_predictions(["bicycle"], np.array([[0.6, 0.4]]), CLASSES, 0.9)
    with pytest.raises(GateMissed, match=r"is nothing, not >= 0\.1"):
        require(check_floors(unsure, replace(LOW, accuracy=0.0, coverage=0.0)))


def test_a_better_rival_shuts_the_gate_only_beyond_luck() -> None:
    """Ten photos that only the other has right shut it; two do not, and neither does a worse rival."""
    photos = [(str(index), "bicycle") for index in range(20)]
    good = np.array([[0.9, 0.1]] * 20)

    def wrong(count: int) -> np.ndarray:
        return np.array([[0.1, 0.9]] * count + [[0.9, 0.1]] * (20 - count))

    assert not not_worse(compare(photos, wrong(10), good, CLASSES, "other")).passed
    assert not_worse(compare(photos, wrong(2), good, CLASSES, "other")).passed
    assert not_worse(compare(photos, good, wrong(10), CLASSES, "other")).passed
