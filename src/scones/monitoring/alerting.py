"""Alerting: whether what a look found is worth an alert, and the alert."""

from dataclasses import replace

from scones.monitoring.alert import Alert, Evidence, Known, make_alert
from scones.monitoring.detectors import MIN_BASELINE, Verdict, check
from scones.monitoring.look import Looked, Registered
from scones.monitoring.scores import MIN_PHOTOS

_TO_DESCRIBE = 0.05
"""The rate of the check that only says what moved, where the stream's detector rang and no check of the window did."""


def alert_of(looked: Looked, known: Known, registered: Registered) -> Alert | None:
    """Make the alert, if the window's check, the stream's detector or the replay rang."""
    batch, verdict = looked.batch, looked.verdict
    rang = verdict.alarm or looked.rung is not None or looked.replayed.another_model
    if batch is None or not rang:
        return None
    evidence = Evidence(
        known=known,
        batch=batch,
        verdict=verdict if verdict.enough else _describe(looked, registered),
        per_thousand=registered.budget.per_thousand,
        alarm=looked.rung,
        replay=looked.replayed,
        estimate=looked.accuracy,
    )
    return make_alert(evidence, registered.seed)


def _describe(looked: Looked, registered: Registered) -> Verdict:
    """Say what moved in a window that is too small for a verdict of its own."""
    batch, baseline = looked.batch, registered.baseline
    if batch is None or len(batch) < MIN_PHOTOS or len(baseline.values) < MIN_BASELINE:
        return looked.verdict
    found = check(baseline, batch.values, false_alarm_rate=_TO_DESCRIBE, seed=registered.seed)
    return replace(found, alarm=False, enough=False)
