"""CloudWatch alarms, mounted: ministack keeps the records, our evaluator and a clock of our own decide their states."""

import logging
import threading
import time
from collections.abc import Callable, Iterator

from ministack.services import cloudwatch

from scones_local.alarms import COMPARISONS, Rule, State, evaluate, evaluated_until
from scones_local.wire import Json

TICK_SECONDS = 0.25


class Clock:
    """Evaluates every alarm whenever a period has ended, whether data came or not."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._done: dict[str, tuple[int, float]] = {}
        self._lock = threading.Lock()

    def start(self) -> None:
        """Run in a thread of its own, for as long as the process lives."""
        threading.Thread(target=self._run, name="alarms", daemon=True).start()

    def tick(self) -> None:
        """Evaluate the alarms whose last complete period is a new one, and those that were changed."""
        for alarm in list(cloudwatch._alarms.values()):
            until = evaluated_until(self._now(), alarm["Period"])
            if self._done.get(alarm["AlarmName"]) != (id(alarm), until):
                self._done[alarm["AlarmName"]] = (id(alarm), until)
                self.evaluate(alarm, until)

    def evaluate(self, alarm: Json, until: float) -> None:
        """Give *alarm* its state at *until*; a change is told to its actions."""
        if alarm.get("ComparisonOperator") not in COMPARISONS or not alarm.get("MetricName"):
            return  # bands and metric math stay in INSUFFICIENT_DATA
        rule = _rule(alarm)
        values = list(_values(alarm, rule.looks_back, until))
        with self._lock:
            old: State = alarm["StateValue"]
            new = evaluate(rule, values, old)
            if new != old:
                _transition(alarm, old, new, values)

    def _run(self) -> None:
        while True:
            time.sleep(TICK_SECONDS)
            try:
                self.tick()
            except (ArithmeticError, LookupError, TypeError, ValueError):
                logging.getLogger(__name__).exception("alarms were not evaluated")


def mount() -> None:
    """Replace ministack's evaluation, which knows neither dimensions nor time."""
    cloudwatch._evaluate_alarm = lambda _alarm: None
    cloudwatch._evaluate_all_alarms = lambda: None
    Clock().start()


def _rule(alarm: Json) -> Rule:
    periods = alarm["EvaluationPeriods"]
    return Rule(
        periods,
        alarm.get("DatapointsToAlarm") or periods,
        alarm["ComparisonOperator"],
        alarm["Threshold"],
        alarm["TreatMissingData"],
    )


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


def _transition(alarm: Json, old: State, new: State, values: list[float | None]) -> None:
    shown = ", ".join("no data" if value is None else f"{value:g}" for value in values)
    reason = (
        f"Threshold Crossed: the last datapoints [{shown}], {alarm['TreatMissingData']} where there were none; "
        f"{alarm['ComparisonOperator']} ({alarm['Threshold']:g})."
    )
    alarm |= {"StateValue": new, "StateReason": reason, "StateUpdatedTimestamp": int(time.time())}
    cloudwatch._record_history(alarm["AlarmName"], old, new, reason)
    cloudwatch._dispatch_alarm_actions(alarm, old, new, reason)
    cloudwatch._evaluate_parent_alarms(alarm)
