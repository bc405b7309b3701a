"""Model Monitor's documents: the form that SageMaker's own tools read."""

import json
from dataclasses import replace

import numpy as np

from batches import batch, registered, run_of
from scones.monitoring.alerts.notices import ActiveAlarm, AlarmEvent
from scones.monitoring.capture.records import RefusalReason
from scones.monitoring.drift.baseline import Baseline
from scones.monitoring.drift.features import BUCKETS, FEATURES, FeatureSummary
from scones.monitoring.drift.window_test import window_test
from scones.monitoring.model_monitor import (
    constraints_document,
    metrics,
    statistics_document,
    violations_document,
)
from scones.monitoring.performance.accuracy_estimate import AccuracyEstimate
from scones.monitoring.performance.registered_model import ProbeResult, check_predictions
from scones.monitoring.run import MonitoringRun

RNG = np.random.default_rng(5)
BASELINE = Baseline(RNG.normal(10, 2, (200, len(FEATURES))), "v1")


def summed(*batches: np.ndarray) -> FeatureSummary:
    """A summary of batches, one after another."""
    summary = FeatureSummary(BASELINE.values)
    for part in batches:
        summary.add(part)
    return summary


def test_statistics_have_model_monitor_s_members() -> None:
    """Each feature is a feature with counts, moments and ten buckets that cover every value."""
    values = RNG.normal(10, 9, (50, len(FEATURES)))
    values[:10, -1] = np.nan
    document = json.loads(json.dumps(statistics_document(summed(values)), allow_nan=False))
    assert (document["version"], document["dataset"]) == (0, {"item_count": 50})
    assert [feature["name"] for feature in document["features"]] == list(FEATURES)
    numbers = document["features"][0]["numerical_statistics"]
    assert set(numbers) == {"common", "mean", "sum", "std_dev", "min", "max", "distribution"}
    buckets = numbers["distribution"]["kll"]["buckets"]
    assert len(buckets) == BUCKETS
    assert sum(bucket["count"] for bucket in buckets) == 50
    assert (buckets[0]["lower_bound"], buckets[-1]["upper_bound"]) == (numbers["min"], numbers["max"])
    last = document["features"][-1]["numerical_statistics"]["common"]
    assert last == {"num_present": 40, "num_missing": 10}
    json.dumps(statistics_document(summed()), allow_nan=False)


def test_constraints_contain_completeness_and_threshold() -> None:
    """Completeness and sign come from the baseline, the threshold from the verdict."""
    document = json.loads(json.dumps(constraints_document(BASELINE, 1.5), allow_nan=False))
    comparison = document["monitoring_config"]["distribution_constraints"]
    assert (comparison["comparison_threshold"], comparison["perform_comparison"]) == (1.5, "Enabled")
    assert {feature["completeness"] for feature in document["features"]} == {1.0}
    assert all(isinstance(feature["num_constraints"]["is_non_negative"], bool) for feature in document["features"])


def test_violations_name_the_feature_the_check_and_what_happened() -> None:
    """Drift, wrong types and missing data each come under Model Monitor's own name."""
    shifted = BASELINE.values[:100].copy()
    shifted[:, 2] += 20
    verdict = window_test(BASELINE, shifted, false_alarm_rate=0.05)
    refused = {RefusalReason.UNREADABLE: 3, RefusalReason.NO_ANSWER: 1, RefusalReason.OURS: 7}
    found = violations_document(verdict, refused)["violations"]
    assert isinstance(found, list)
    pairs = {(item["feature_name"], item["constraint_check_type"]) for item in found}
    assert (FEATURES[2], "baseline_drift_check") in pairs
    assert {("photo", "data_type_check"), ("probabilities", "completeness_check")} < pairs
    assert all(set(item) == {"feature_name", "constraint_check_type", "description"} for item in found)
    assert "unreadable" not in str(pairs)


def test_a_run_without_drift_violates_nothing() -> None:
    """Questions of our own are no violation."""
    verdict = window_test(BASELINE, RNG.normal(10, 2, (100, len(FEATURES))), false_alarm_rate=0.001)
    assert violations_document(verdict, {RefusalReason.OURS: 7}) == {"violations": []}


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
