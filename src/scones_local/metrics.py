"""CloudWatch from inside the gateway: metrics, summed up off the path of what they count, and the state of alarms."""

import math
import threading
import time
from collections import Counter
from collections.abc import Mapping

from ministack.services import cloudwatch

FLUSH_SECONDS = 0.25
DIGITS = 2
UNITS = {"ModelLatency": "Microseconds", "OverheadLatency": "Microseconds", "Duration": "Milliseconds"}

Point = tuple[str, str, tuple[tuple[str, str], ...], float]
"""Namespace, metric, dimensions, value."""


class Metrics:
    """Counts equal values, and hands each on as one point with its count: memory does not grow with requests."""

    def __init__(self) -> None:
        self._waiting: Counter[Point] = Counter()
        self._lock = threading.Lock()
        threading.Thread(target=self._flush_forever, name="metrics", daemon=True).start()

    def note(self, namespace: str, dimensions: Mapping[str, str], values: Mapping[str, float]) -> None:
        """Count one value of each metric; times are kept to two digits."""
        labels = tuple(dimensions.items())
        with self._lock:
            for name, value in values.items():
                self._waiting[namespace, name, labels, _rounded(value) if name in UNITS else value] += 1

    def flush(self) -> None:
        """Hand on what waits."""
        with self._lock:
            waiting, self._waiting = self._waiting, Counter()
        moment = time.time()
        for (namespace, name, labels, value), count in waiting.items():
            unit = UNITS.get(name, "Count")
            cloudwatch._store_datum(namespace, name, dict(labels), moment, unit, None, [value], [float(count)], None)

    def _flush_forever(self) -> None:
        while True:
            time.sleep(FLUSH_SECONDS)
            if self._waiting:
                self.flush()


def alarm_state(name: str) -> str | None:
    """The state of an alarm, of either kind; None where there is none."""
    alarm = cloudwatch._alarms.get(name) or cloudwatch._composite_alarms.get(name) or {}
    state: str | None = alarm.get("StateValue")
    return state


def _rounded(value: float) -> float:
    return round(value, DIGITS - 1 - math.floor(math.log10(value))) if value > 0 else 0.0
