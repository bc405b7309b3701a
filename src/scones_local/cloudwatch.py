"""CloudWatch: metrics of this cloud's own services, and alarms that are evaluated by a clock as AWS documents it.

ministack keeps the records and sends the notices. Source of the rules:
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html
"""

import json
import logging
import math
import operator
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from ministack.services import cloudwatch, eventbridge

from scones_local.wire import Json

AlarmState = Literal["OK", "ALARM", "INSUFFICIENT_DATA"]
MissingData = Literal["missing", "ignore", "breaching", "notBreaching"]

COMPARISONS = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
EXTRA_PERIODS = 2
"""How many periods CloudWatch evaluates beyond those of the alarm: that many in its documented examples."""
MINUTE_SECONDS = 60
TICK_SECONDS = 0.25
FLUSH_SECONDS = 0.25
DIGITS = 2
UNITS = {"ModelLatency": "Microseconds", "OverheadLatency": "Microseconds", "Duration": "Milliseconds"}

_Sample = tuple[str, str, tuple[tuple[str, str], ...], float]
"""Namespace, metric, dimensions, value."""


def install() -> "MetricBuffer":
    """Replace ministack's evaluation, which knows neither dimensions nor time; returns where services count.

    Each change of state, also one that a client sets, is sent to EventBridge before the alarm's own actions run.
    """
    dispatch = cloudwatch._dispatch_alarm_actions

    def send(alarm: Json, old: str, new: str, reason: str) -> None:
        _send_event(alarm, old)
        dispatch(alarm, old, new, reason)

    cloudwatch._dispatch_alarm_actions = send
    cloudwatch._evaluate_alarm = lambda _alarm: None
    cloudwatch._evaluate_all_alarms = lambda: None
    threading.Thread(target=AlarmClock().run, name="alarms", daemon=True).start()
    return MetricBuffer()


class MetricBuffer:
    """Counts equal values and stores each as one datum with its count: memory does not grow with requests."""

    def __init__(self) -> None:
        self._waiting: Counter[_Sample] = Counter()
        self._lock = threading.Lock()
        threading.Thread(target=self._flush_forever, name="metrics", daemon=True).start()

    def add(self, namespace: str, dimensions: Mapping[str, str], values: Mapping[str, float]) -> None:
        """Count one value of each metric; durations are rounded to two digits."""
        labels = tuple(dimensions.items())
        with self._lock:
            for name, value in values.items():
                self._waiting[namespace, name, labels, _rounded(value) if name in UNITS else value] += 1

    def _flush_forever(self) -> None:
        while True:
            time.sleep(FLUSH_SECONDS)
            with self._lock:
                waiting, self._waiting = self._waiting, Counter()
            now = time.time()
            for (namespace, name, labels, value), count in waiting.items():
                unit = UNITS.get(name, "Count")
                cloudwatch._store_datum(namespace, name, dict(labels), now, unit, None, [value], [float(count)], None)


def _rounded(value: float) -> float:
    return round(value, DIGITS - 1 - math.floor(math.log10(value))) if value > 0 else 0.0


def alarm_state(name: str) -> str | None:
    """The state of a metric alarm or a composite alarm; None if it does not exist."""
    alarm = cloudwatch._alarms.get(name) or cloudwatch._composite_alarms.get(name) or {}
    state: str | None = alarm.get("StateValue")
    return state


@dataclass(frozen=True, slots=True)
class AlarmRule:
    """When an alarm is in ALARM: *datapoints* of the last *periods* breach the threshold."""

    periods: int
    datapoints: int
    comparison: str
    threshold: float
    missing: MissingData = "missing"

    @property
    def evaluated_periods(self) -> int:
        """How many of the last periods the evaluation needs."""
        return self.periods + EXTRA_PERIODS

    def breaches(self, value: float) -> bool:
        """Whether a datapoint breaches the threshold."""
        return bool(COMPARISONS[self.comparison](value, self.threshold))


def evaluate(rule: AlarmRule, values: Sequence[float | None], current: AlarmState) -> AlarmState:
    """The state after these periods, oldest first; None is a period without data."""
    breaching = [rule.breaches(value) for value in values if value is not None]
    lacking = rule.periods - len(breaching)
    if lacking <= 0:
        # With enough data only the newest counts, wherever it lies, and missing data is not filled in.
        return _decided(rule, breaching[-rule.periods :])
    if rule.missing in ("breaching", "notBreaching"):
        return _decided(rule, [*breaching, *[rule.missing == "breaching"] * lacking])
    if sum(breaching) >= rule.datapoints:
        return "ALARM"
    if not breaching:
        return "INSUFFICIENT_DATA" if rule.missing == "missing" else current
    if all(breaching) and _age(values) >= rule.datapoints:
        # All known data breaches, and for long enough: CloudWatch does not wait for more.
        return "ALARM" if rule.missing == "missing" else current
    return "OK" if rule.missing == "missing" or not all(breaching) else current


def evaluated_until(moment: float, period_seconds: int) -> float:
    """The end of the last complete period; those shorter than a minute end at any full second."""
    return moment // 1 if period_seconds < MINUTE_SECONDS else moment // MINUTE_SECONDS * MINUTE_SECONDS


def _decided(rule: AlarmRule, breaching: Sequence[bool]) -> AlarmState:
    return "ALARM" if sum(breaching) >= rule.datapoints else "OK"


def _age(values: Sequence[float | None]) -> int:
    """How many periods ago the oldest datapoint was, the newest period being 1."""
    return len(values) - next(index for index, value in enumerate(values) if value is not None)


class AlarmClock:
    """Evaluates every alarm whenever a period has ended, with or without new data."""

    def __init__(self) -> None:
        self._done: dict[str, tuple[int, float]] = {}

    def run(self) -> None:
        """Evaluate for as long as the process runs."""
        while True:
            time.sleep(TICK_SECONDS)
            try:
                self._tick(time.time())
            except (ArithmeticError, LookupError, TypeError, ValueError):
                logging.getLogger(__name__).exception("alarms were not evaluated")

    def _tick(self, now: float) -> None:
        """Evaluate the alarms whose last complete period is a new one, and those that were changed."""
        for alarm in list(cloudwatch._alarms.values()):
            until = evaluated_until(now, alarm["Period"])
            if self._done.get(alarm["AlarmName"]) != (id(alarm), until):
                self._done[alarm["AlarmName"]] = (id(alarm), until)
                _update(alarm, until)


def _update(alarm: Json, until: float) -> None:
    """Set *alarm*'s state at *until*, and notify its actions of a change."""
    if alarm.get("ComparisonOperator") not in COMPARISONS or not alarm.get("MetricName"):
        return  # anomaly bands and metric math stay in INSUFFICIENT_DATA
    rule = AlarmRule(
        alarm["EvaluationPeriods"],
        alarm.get("DatapointsToAlarm") or alarm["EvaluationPeriods"],
        alarm["ComparisonOperator"],
        alarm["Threshold"],
        alarm["TreatMissingData"],
    )
    values = list(_values(alarm, rule.evaluated_periods, until))
    old: AlarmState = alarm["StateValue"]
    new = evaluate(rule, values, old)
    if new != old:
        _transition(alarm, old, new, values)


def _values(alarm: Json, periods: int, until: float) -> Iterator[float | None]:
    """The statistic of each of the last *periods* before *until*, oldest first."""
    length, unit = alarm["Period"], alarm.get("Unit")
    begin = until - periods * length
    dimensions = cloudwatch._dims_key(cloudwatch._dims_from_list(alarm.get("Dimensions") or []))
    buckets: list[list[Json]] = [[] for _ in range(periods)]
    for point in list(cloudwatch._metrics.get((alarm["Namespace"], alarm["MetricName"], dimensions)) or ()):
        if begin <= point["Timestamp"] < until and unit in (None, point["Unit"]):
            buckets[int((point["Timestamp"] - begin) // length)].append(point)
    statistic = alarm.get("ExtendedStatistic") or alarm["Statistic"]
    for points in buckets:
        stats = cloudwatch._calc_stats(points)
        yield cloudwatch._stat_value(stats, statistic, points) if stats else None


def _transition(alarm: Json, old: AlarmState, new: AlarmState, values: list[float | None]) -> None:
    shown = ", ".join("no data" if value is None else f"{value:g}" for value in values)
    reason = (
        f"Threshold Crossed: the last datapoints were [{shown}], with missing data treated as "
        f"{alarm['TreatMissingData']}; {alarm['ComparisonOperator']} ({alarm['Threshold']:g})."
    )
    alarm |= {"StateValue": new, "StateReason": reason, "StateUpdatedTimestamp": int(time.time())}
    cloudwatch._record_history(alarm["AlarmName"], old, new, reason)
    cloudwatch._dispatch_alarm_actions(alarm, old, new, reason)
    cloudwatch._evaluate_parent_alarms(alarm)


def _send_event(alarm: Json, old: str) -> None:
    """Send the event of a changed state, which rules of EventBridge may match.

    Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html
    """
    changed = datetime.fromtimestamp(alarm["StateUpdatedTimestamp"], UTC)
    detail = {
        "alarmName": alarm["AlarmName"],
        "state": {
            "value": alarm["StateValue"],
            "reason": alarm["StateReason"],
            "timestamp": f"{changed:%Y-%m-%dT%H:%M:%S}.000+0000",
        },
        "previousState": {"value": old},
        "configuration": {"description": alarm.get("AlarmDescription", ""), **_watched(alarm)},
    }
    event = {
        "Source": "aws.cloudwatch",
        "DetailType": "CloudWatch Alarm State Change",
        "Resources": [alarm["AlarmArn"]],
        "Detail": json.dumps(detail),
    }
    eventbridge._put_events({"Entries": [event]}, allow_aws_source=True)


def _watched(alarm: Json) -> Json:
    """What an alarm watches, as its event tells it: one metric, or other alarms."""
    if not alarm.get("MetricName"):
        return {"alarmRule": alarm["AlarmRule"]} if "AlarmRule" in alarm else {}
    metric = {
        "namespace": alarm["Namespace"],
        "name": alarm["MetricName"],
        "dimensions": {each["Name"]: each["Value"] for each in alarm.get("Dimensions") or []},
    }
    stat = {"metric": metric, "period": alarm["Period"], "stat": alarm.get("ExtendedStatistic") or alarm["Statistic"]}
    return {"metrics": [{"id": "m1", "metricStat": stat, "returnData": True}]}
