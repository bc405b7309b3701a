"""SageMaker Model Monitor's documents and metrics, for the tools that read them.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-contract-outputs.html
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np

from scones.monitoring.alerts.notices import ActiveAlarm
from scones.monitoring.capture.records import IGNORED, RefusalReason
from scones.monitoring.drift.baseline import Baseline
from scones.monitoring.drift.features import FEATURES, FeatureStatistics, FeatureSummary
from scones.monitoring.drift.window_test import WindowVerdict
from scones.monitoring.performance.registered_model import ProbeResult
from scones.monitoring.run import RunResult

NAMESPACE = "/aws/sagemaker/Endpoints/data-metrics"
"""Where Model Monitor's containers publish an endpoint's metrics.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-cloudwatch.html
"""

CheckType = Literal["baseline_drift_check", "data_type_check", "completeness_check"]
JsonObject = dict[str, object]

_VERSION = 0
# What is wrong with a record, and which of Model Monitor's checks covers it.
_CHECK_OF_REASON: Mapping[RefusalReason, tuple[str, CheckType]] = {
    RefusalReason.NO_CAPTURE: ("capture", "data_type_check"),
    RefusalReason.GONE: ("capture", "completeness_check"),
    RefusalReason.MALFORMED: ("capture", "data_type_check"),
    RefusalReason.NO_PHOTO: ("photo", "completeness_check"),
    RefusalReason.NO_ANSWER: ("probabilities", "completeness_check"),
    RefusalReason.UNREADABLE: ("photo", "data_type_check"),
    RefusalReason.OTHER_MODEL: ("probabilities", "data_type_check"),
}


def dimensions(endpoint: str) -> dict[str, str]:
    """The dimensions of an endpoint's metrics; the schedule has the endpoint's name."""
    return {"Endpoint": endpoint, "MonitoringSchedule": endpoint}


def metrics(
    run: RunResult, refused: Mapping[RefusalReason, int], probes: Sequence[ProbeResult], alarms: Sequence[ActiveAlarm]
) -> dict[str, float]:
    """The value of each metric of one run; drift scores are in units of the threshold.

    Features have no metric without a verdict, and the accuracy none without a trusted estimate.
    """
    verdict, accuracy = run.verdict, run.accuracy
    found = {
        "images_seen": float(run.photos),
        "records_refused": float(sum(count for reason, count in refused.items() if reason not in IGNORED)),
        "prediction_mismatch": float(len(run.check.mismatches)),
        "drift_alarm": float(any(alarm.kind == "drift" for alarm in alarms)),
        "drift_score": max(run.stream_score, verdict.score / verdict.threshold if verdict.enough else 0.0),
        "probe_failures": float(sum(not probe.right for probe in probes)),
    }
    if verdict.enough:
        found |= {f"feature_baseline_drift_{shift.name}": shift.score / verdict.threshold for shift in verdict.features}
    if accuracy and accuracy.trusted:
        found["accuracy_estimate"] = accuracy.accuracy
    return found


def statistics_document(summary: FeatureSummary) -> JsonObject:
    """statistics.json, with the histogram but without the KLL sketch, which would need another library."""
    features = []
    for name, figures, edges in zip(FEATURES, summary.features, summary.edges, strict=True):
        common = {"num_present": figures.present, "num_missing": summary.photos - figures.present}
        numbers = {
            "common": common,
            "mean": figures.mean,
            "sum": figures.mean * figures.present,
            "std_dev": figures.deviation,
            "min": figures.least if figures.present else 0.0,
            "max": figures.most if figures.present else 0.0,
            "distribution": {"kll": {"buckets": _buckets(figures, edges.tolist())}},
        }
        features.append({"name": name, "inferred_type": "Fractional", "numerical_statistics": numbers})
    return {"version": _VERSION, "dataset": {"item_count": summary.photos}, "features": features}


def constraints_document(baseline: Baseline, threshold: float) -> JsonObject:
    """constraints.json: the completeness of each feature, and the *threshold* above which its drift is an alarm."""
    known = np.isfinite(baseline.values)
    least = np.where(known, baseline.values, 0.0).min(axis=0)
    features = [
        {
            "name": name,
            "inferred_type": "Fractional",
            "completeness": float(known[:, index].mean()),
            "num_constraints": {"is_non_negative": bool(least[index] >= 0)},
        }
        for index, name in enumerate(FEATURES)
    ]
    comparison = {
        "perform_comparison": "Enabled",
        "comparison_threshold": threshold,
        # Neither of Model Monitor's two methods is ours; the violation's description explains the score.
        "comparison_method": "Robust",
    }
    config = {
        "evaluate_constraints": "Enabled",
        "emit_metrics": "Enabled",
        "datatype_check_threshold": 1.0,
        "domain_content_threshold": 1.0,
        "distribution_constraints": comparison,
    }
    return {"version": _VERSION, "features": features, "monitoring_config": config}


def violations_document(verdict: WindowVerdict, refused: Mapping[RefusalReason, int]) -> JsonObject:
    """constraint_violations.json: features above the threshold, and records that could not be used."""
    found = []
    if verdict.alarm:
        # All features together may fire, and none alone: then the one that changed most is named.
        changed = verdict.changed() or verdict.features[:1]
        found = [
            _violation(
                shift.name,
                "baseline_drift_check",
                f"score {shift.score / verdict.threshold:.2f} times the threshold; median {shift.before:.4g} -> "
                f"{shift.now:.4g} in {verdict.photos} photos",
            )
            for shift in changed
        ]
    for reason, count in refused.items():
        if reason in _CHECK_OF_REASON:
            feature, check = _CHECK_OF_REASON[reason]
            found.append(_violation(feature, check, f"{reason}: {count}"))
    return {"violations": found}


def _violation(feature: str, check: CheckType, description: str) -> dict[str, str]:
    return {"feature_name": feature, "constraint_check_type": check, "description": description}


def _buckets(figures: FeatureStatistics, bounds: list[float]) -> list[JsonObject]:
    if figures.present:
        bounds = [min(bounds[0], figures.least), *bounds[1:-1], max(bounds[-1], figures.most)]
    return [
        {"lower_bound": low, "upper_bound": high, "count": float(count)}
        for (low, high), count in zip(pairwise(bounds), figures.counts, strict=True)
    ]
