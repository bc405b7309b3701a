"""Gate: the minimum quality that a model must have before it is approved."""

from collections.abc import Iterator
from dataclasses import dataclass

from scones.config.settings import Settings
from scones.domain.errors import EvaluationError
from scones.evaluation.comparison import SIGNIFICANCE, Comparison
from scones.evaluation.metrics import ClassificationMetrics


@dataclass(frozen=True, slots=True)
class GateRequirements:
    """The gate's limits: the highest calibration error and the lowest value of the other figures, all from 0 to 1."""

    accuracy: float
    calibration_error: float
    coverage: float
    accuracy_covered: float

    @classmethod
    def of(cls, settings: Settings) -> "GateRequirements":
        """Read them from the settings."""
        return cls(
            accuracy=settings.gate_accuracy,
            calibration_error=settings.gate_calibration_error,
            coverage=settings.gate_coverage,
            accuracy_covered=settings.gate_accuracy_covered,
        )


@dataclass(frozen=True, slots=True)
class GateCheck:
    """One requirement: its setting, the required and the measured value, and whether it passed.

    *measured* is None where there was nothing to measure, which never passes.
    """

    setting: str
    meaning: str
    required: float
    at_most: bool
    measured: float | None
    passed: bool

    def __str__(self) -> str:
        """The failed requirement in one line."""
        found = "nothing" if self.measured is None else f"{self.measured:.5f}"
        return f"{self.setting}: {self.meaning} is {found}, not {'<=' if self.at_most else '>='} {self.required:g}"


class GateFailed(EvaluationError):
    """The model does not meet a requirement; the message lists each with the measured value."""

    def __init__(self, failed: tuple[GateCheck, ...]) -> None:
        super().__init__(f"gate failed: {'; '.join(str(check) for check in failed)}; train a better model")
        self.failed = failed


def check_requirements(evaluation: ClassificationMetrics, requirements: GateRequirements) -> tuple[GateCheck, ...]:
    """Compare the metrics with the requirements.

    Shares are compared by the lower end of their 95% interval, so that a lucky result on few photos does not pass.
    """
    return tuple(_checks(evaluation, requirements))


def require_passed(checks: tuple[GateCheck, ...]) -> None:
    """Return if every check passed.

    Raises:
        GateFailed: a check did not pass.
    """
    failed = tuple(check for check in checks if not check.passed)
    if failed:
        raise GateFailed(failed)


def check_not_worse(comparison: Comparison) -> GateCheck:
    """Check that the other model is not significantly better, by the p-value of its lead."""
    leads = comparison.only_theirs > comparison.only_ours
    return _check(
        "--against", "the p-value of the other model's lead", comparison.p_value if leads else 1, SIGNIFICANCE
    )


def _checks(found: ClassificationMetrics, requirements: GateRequirements) -> Iterator[GateCheck]:
    low = "the lower end of the 95% interval of accuracy"
    covered = found.interval_covered.low if found.interval_covered else None
    yield _check("gate_accuracy", low, found.interval.low, requirements.accuracy)
    yield _check(
        "gate_calibration_error", "the calibration error", found.ece, requirements.calibration_error, at_most=True
    )
    yield _check(
        "gate_coverage", "the share of photos at or above the threshold", found.coverage, requirements.coverage
    )
    yield _check("gate_accuracy_covered", f"{low} at or above the threshold", covered, requirements.accuracy_covered)


def _check(setting: str, meaning: str, measured: float | None, required: float, *, at_most: bool = False) -> GateCheck:
    passed = measured is not None and (measured <= required if at_most else measured >= required)
    return GateCheck(setting, meaning, required, at_most, measured, passed)
