"""Gate: the floors that a model must not fall below before it is let out."""

from collections.abc import Iterator
from dataclasses import dataclass

from scones.config.settings import Settings
from scones.domain.errors import SconesError
from scones.evaluation.comparison import LUCK, Comparison
from scones.evaluation.metrics import Evaluation


@dataclass(frozen=True, slots=True)
class Floors:
    """What is asked of a model; every share lies between 0 and 1."""

    accuracy: float
    calibration_error: float
    coverage: float
    accuracy_covered: float

    @classmethod
    def of(cls, settings: Settings) -> "Floors":
        """Take them from the settings."""
        return cls(
            accuracy=settings.gate_accuracy,
            calibration_error=settings.gate_calibration_error,
            coverage=settings.gate_coverage,
            accuracy_covered=settings.gate_accuracy_covered,
        )


@dataclass(frozen=True, slots=True)
class Check:
    """One floor: the setting that names it, what was asked, what was measured, and whether that is enough.

    *measured* is None where there was nothing to measure, which is never enough.
    """

    setting: str
    meaning: str
    wanted: float
    at_most: bool
    measured: float | None
    passed: bool

    def __str__(self) -> str:
        """Say it in one line."""
        found = "nothing" if self.measured is None else f"{self.measured:.5f}"
        return f"{self.setting}: {self.meaning} is {found}, not {'<=' if self.at_most else '>='} {self.wanted:g}"


class GateMissed(SconesError):
    """The model is below a floor; the message names each, with what was measured."""

    def __init__(self, missed: tuple[Check, ...]) -> None:
        super().__init__(f"the gate is shut: {'; '.join(str(check) for check in missed)}; train a better model")
        self.missed = missed


def check_floors(evaluation: Evaluation, floors: Floors) -> tuple[Check, ...]:
    """Compare the figures with the floors.

    Shares are judged by the lower end of their 95% interval: luck on few photos opens no gate.
    """
    return tuple(_checks(evaluation, floors))


def require(checks: tuple[Check, ...]) -> None:
    """Pass, or stop.

    Raises:
        GateMissed: a floor was missed.
    """
    missed = tuple(check for check in checks if not check.passed)
    if missed:
        raise GateMissed(missed)


def not_worse(comparison: Comparison) -> Check:
    """Check that the other model is not better beyond luck: the chance of its lead if both were equally good."""
    leads = comparison.only_theirs > comparison.only_ours
    return _check(
        "--against", "the chance that the other model leads by luck", comparison.p_value if leads else 1, LUCK
    )


def _checks(found: Evaluation, floors: Floors) -> Iterator[Check]:
    low = "the lower end of the 95% interval of accuracy"
    covered = found.interval_covered.low if found.interval_covered else None
    yield _check("gate_accuracy", low, found.interval.low, floors.accuracy)
    yield _check("gate_calibration_error", "the calibration error", found.ece, floors.calibration_error, at_most=True)
    yield _check("gate_coverage", "the share of photos at or above the threshold", found.coverage, floors.coverage)
    yield _check("gate_accuracy_covered", f"{low} at or above the threshold", covered, floors.accuracy_covered)


def _check(setting: str, meaning: str, measured: float | None, wanted: float, *, at_most: bool = False) -> Check:
    passed = measured is not None and (measured <= wanted if at_most else measured >= wanted)
    return Check(setting, meaning, wanted, at_most, measured, passed)
