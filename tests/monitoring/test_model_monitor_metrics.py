"""Every metric has the name that Model Monitor's users look for."""

from dataclasses import replace

import numpy as np

from batches import batch, registered, run_of
from scones.monitoring.alerts.notices import ActiveAlarm, AlarmEvent
from scones.monitoring.capture.records import RefusalReason
from scones.monitoring.drift.features import FEATURES
from scones.monitoring.model_monitor import metrics
from scones.monitoring.performance.accuracy_estimate import AccuracyEstimate
from scones.monitoring.performance.prediction_check import ProbeResult, check_predictions
from scones.monitoring.run import MonitoringRun

HALF = np.full((3, 2), [0.3, 0.7])


def test_an_active_alarm_outlasts_the_verdict() -> None:
    """`drift_alarm` stays at 1 although this run had too few photos for any score."""
    active = ActiveAlarm(AlarmEvent("drift", "", ""), "2026-01-01T00:00:00Z")
    probes = (ProbeResult("k", "bicycle", "motorcycle"), ProbeResult("k", "bicycle", "bicycle"))
    refused = {RefusalReason.MALFORMED: 2, RefusalReason.TWICE: 5}
    assert metrics(MonitoringRun(registered(), "e").finish(), refused, probes, (active,)) == {
        "images_seen": 0,
        "records_refused": 2,
        "prediction_mismatch": 0,
        "drift_alarm": 1,
        "drift_score": 0,
        "probe_failures": 1,
    }


def test_drift_scores_are_in_units_of_the_threshold() -> None:
    """Above 1 is above the threshold; an accuracy that is not trusted is not published."""
    estimate = AccuracyEstimate(0.7, 0.6, 0.8, trusted=True, why="")
    run = replace(run_of(batch(brightness=-5)), check=check_predictions(HALF, 1 - HALF), accuracy=estimate)
    found = metrics(run, {}, (), ())
    assert (found["drift_alarm"], found["prediction_mismatch"], found["accuracy_estimate"]) == (0, 3, 0.7)
    assert found["drift_score"] > 1
    assert {f"feature_baseline_drift_{name}" for name in FEATURES} < set(found)
    assert "accuracy_estimate" not in metrics(replace(run, accuracy=replace(estimate, trusted=False)), {}, (), ())
