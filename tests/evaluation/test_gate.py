"""The gate passes only a model that meets the requirements, and names the others."""

from dataclasses import replace

import numpy as np
import pytest

from scones.evaluation.comparison import compare
from scones.evaluation.gate import GateFailed, GateRequirements, check_not_worse, check_requirements, require_passed
from scones.evaluation.metrics import evaluate_predictions

CLASSES = ("bicycle", "motorcycle")
LOW = GateRequirements(accuracy=0.1, calibration_error=0.9, coverage=0.1, accuracy_covered=0.1)
EVALUATION = evaluate_predictions(["bicycle"] * 20, np.array([[0.9, 0.1]] * 19 + [[0.4, 0.6]]), CLASSES, 0.8)


def test_a_model_that_meets_every_requirement_passes() -> None:
    """Nothing is raised."""
    require_passed(check_requirements(EVALUATION, LOW))


@pytest.mark.parametrize(
    ("requirement", "value", "words"),
    [
        ("accuracy", 0.9, r"gate_accuracy: .*95% interval of accuracy is 0\.76387, not >= 0\.9"),
        ("calibration_error", 0.01, r"gate_calibration_error: .* is 0\.\d{5}, not <= 0\.01"),
        ("coverage", 0.99, r"gate_coverage: .* is 0\.95000, not >= 0\.99"),
        ("accuracy_covered", 0.9, r"gate_accuracy_covered: .* is 0\.8318\d, not >= 0\.9"),
    ],
)
def test_a_failed_requirement_is_named_with_the_measured_value(requirement: str, value: float, words: str) -> None:
    """The setting, the measured and the required value; shares by the lower end of their interval."""
    with pytest.raises(GateFailed, match=words) as failure:
        require_passed(check_requirements(EVALUATION, replace(LOW, **{requirement: value})))
    assert len(failure.value.failed) == 1


def test_a_requirement_without_a_measurement_fails() -> None:
    """Where no photo is above the threshold, the accuracy of those above it fails."""
    unsure = evaluate_predictions(["bicycle"], np.array([[0.6, 0.4]]), CLASSES, 0.9)
    with pytest.raises(GateFailed, match=r"is nothing, not >= 0\.1"):
        require_passed(check_requirements(unsure, replace(LOW, accuracy=0.0, coverage=0.0)))


def test_a_better_model_fails_the_gate_only_if_significantly_better() -> None:
    """Ten photos that only the other has right fail it; two do not, and neither does a worse model."""
    photos = [(str(index), "bicycle") for index in range(20)]
    good = np.array([[0.9, 0.1]] * 20)

    def wrong(count: int) -> np.ndarray:
        return np.array([[0.1, 0.9]] * count + [[0.9, 0.1]] * (20 - count))

    assert not check_not_worse(compare(photos, wrong(10), good, CLASSES, "other")).passed
    assert check_not_worse(compare(photos, wrong(2), good, CLASSES, "other")).passed
    assert check_not_worse(compare(photos, good, wrong(10), CLASSES, "other")).passed
