"""Every metric has the name that Model Monitor's users look for."""

from dataclasses import replace

import numpy as np

from scones.monitoring.alerts.notices import ActiveAlarm, AlarmEvent
from scones.monitoring.capture.records import RefusalReason
from scones.monitoring.drift.baseline import Baseline
from scones.monitoring.drift.features import FEATURES
from scones.monitoring.drift.stream_statistics import calibrate_stream
from scones.monitoring.drift.window_test import FalseAlarmBudget, window_test
from scones.monitoring.inspect import Look, MonitoringFigures, Registered, figures
from scones.monitoring.performance.accuracy_estimate import AccuracyEstimate
from scones.monitoring.performance.prediction_check import ProbeResult, check_predictions

VALUES = np.random.default_rng(5).normal(10, 2, (200, len(FEATURES)))
BASELINE = Baseline(VALUES, "v1", calibrate_stream(VALUES[:40], rounds=1))
HALF = np.full((3, 2), [0.3, 0.7])
NOTHING = Look(
    Registered(BASELINE, lambda photos: (HALF[: len(photos)].astype(np.float32), None), FalseAlarmBudget(), 0), "e"
)


def test_a_standing_alarm_outlasts_the_verdict() -> None:
    """`drift_alarm` stays at 1 although this look saw too few photos for any evidence."""
    standing = ActiveAlarm(AlarmEvent("drift", "", ""), "2026-01-01T00:00:00Z")
    canaries = (ProbeResult("k", "bicycle", "motorcycle"), ProbeResult("k", "bicycle", "bicycle"))
    found = figures(
        MonitoringFigures(NOTHING.finish(), {RefusalReason.MALFORMED: 2, RefusalReason.TWICE: 5}, canaries, (standing,))
    )
    assert found == {
        "images_seen": 0,
        "records_refused": 2,
        "replay_mismatch": 0,
        "drift_alarm": 1,
        "drift_evidence": 0,
        "canary_failures": 1,
    }


def test_evidence_counts_in_alarm_lines_channel_by_channel() -> None:
    """Beyond 1 is beyond the line; an accuracy that is not trusted is not published."""
    verdict = window_test(BASELINE, VALUES[:100] + 20, false_alarm_rate=0.05)
    estimate = AccuracyEstimate(0.7, 0.6, 0.8, trusted=True, why="")
    looked = replace(NOTHING.finish(), verdict=verdict, replayed=check_predictions(HALF, 1 - HALF), accuracy=estimate)
    found = figures(MonitoringFigures(looked, {}, (), ()))
    assert (found["drift_alarm"], found["replay_mismatch"], found["accuracy_estimate"]) == (0, 3, 0.7)
    assert found["drift_evidence"] > 1
    assert {f"feature_baseline_drift_{name}" for name in FEATURES} < set(found)
    doubtful = replace(looked, accuracy=replace(estimate, trusted=False))
    assert "accuracy_estimate" not in figures(MonitoringFigures(doubtful, {}, (), ()))
