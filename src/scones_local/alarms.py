"""Alarms: from the datapoints of the last periods to a state, as CloudWatch documents it; pure.

Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html
"""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

State = Literal["OK", "ALARM", "INSUFFICIENT_DATA"]
Missing = Literal["missing", "ignore", "breaching", "notBreaching"]

COMPARISONS = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
MORE_PERIODS = 2
"""How many periods beyond those asked for CloudWatch looks back at: that many in its documented examples."""
MINUTE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Rule:
    """When an alarm is in ALARM: *datapoints* of the last *periods* breach."""

    periods: int
    datapoints: int
    comparison: str
    threshold: float
    missing: Missing = "missing"

    @property
    def looks_back(self) -> int:
        """How many periods the evaluation is given."""
        return self.periods + MORE_PERIODS

    def breaches(self, value: float) -> bool:
        """Whether a datapoint violates the threshold."""
        return bool(COMPARISONS[self.comparison](value, self.threshold))


def evaluate(rule: Rule, values: Sequence[float | None], current: State) -> State:
    """The state after these periods, oldest first; None is a period without data."""
    real = [rule.breaches(value) for value in values if value is not None]
    if len(real) >= rule.periods:
        # Enough came: the newest count, however they lie, and nothing has to be filled in.
        return _decided(rule, real[-rule.periods :])
    lacking = rule.periods - len(real)
    if rule.missing in ("breaching", "notBreaching"):
        return _decided(rule, [*real, *[rule.missing == "breaching"] * lacking])
    if sum(real) >= rule.datapoints:
        return "ALARM"
    if not real:
        return "INSUFFICIENT_DATA" if rule.missing == "missing" else current
    if all(real) and _age(values) >= rule.datapoints:
        # All that is known breaches, for long enough: CloudWatch calls it premature to wait for more.
        return "ALARM" if rule.missing == "missing" else current
    return "OK" if rule.missing == "missing" or not all(real) else current


def evaluated_until(moment: float, period_seconds: int) -> float:
    """The end of the last complete period; those shorter than a minute end at any full second."""
    return moment // 1 if period_seconds < MINUTE_SECONDS else moment // MINUTE_SECONDS * MINUTE_SECONDS


def _decided(rule: Rule, breaching: Sequence[bool]) -> State:
    return "ALARM" if sum(breaching) >= rule.datapoints else "OK"


def _age(values: Sequence[float | None]) -> int:
    """How many periods ago the oldest datapoint was, the newest period being 1."""
    return len(values) - next(index for index, value in enumerate(values) if value is not None)
