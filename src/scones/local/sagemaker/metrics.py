"""CloudWatch for endpoints: their metrics, summed up off the request's path, and the state of alarms."""

import math
import threading
import time
from collections import Counter

from ministack.services import cloudwatch

NAMESPACE = "AWS/SageMaker"
FLUSH_SECONDS = 0.25
DIGITS = 2

Point = tuple[str, str, str, float]
"""Metric, endpoint, variant, value."""


class Metrics:
    """Counts equal values, and hands each on as one point with its count: memory does not grow with requests."""

    def __init__(self) -> None:
        self._waiting: Counter[Point] = Counter()
        self._lock = threading.Lock()
        threading.Thread(target=self._flush_forever, name="metrics", daemon=True).start()

    def note(self, endpoint: str, variant: str, status: int, model_seconds: float, waited_seconds: float) -> None:
        """Count one invocation under SageMaker's names; latencies are kept to two digits, in microseconds."""
        values = {
            "Invocations": 1.0,
            "Invocation4XXErrors": float(400 <= status < 500),
            "Invocation5XXErrors": float(status >= 500),
            "ModelLatency": _rounded(model_seconds * 1e6),
            "OverheadLatency": _rounded(waited_seconds * 1e6),
        }
        with self._lock:
            self._waiting.update((name, endpoint, variant, value) for name, value in values.items())

    def flush(self) -> None:
        """Hand on what waits."""
        with self._lock:
            waiting, self._waiting = self._waiting, Counter()
        moment = time.time()
        for (name, endpoint, variant, value), count in waiting.items():
            dimensions = {"EndpointName": endpoint, "VariantName": variant}
            unit = "Microseconds" if name.endswith("Latency") else "Count"
            cloudwatch._store_datum(NAMESPACE, name, dimensions, moment, unit, None, [value], [float(count)], None)

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
