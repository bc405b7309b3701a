"""Figures: what each look publishes to CloudWatch, under the names that Model Monitor's users look for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scones.monitoring.canary import Canary
from scones.monitoring.intake import PASSED_OVER, Reason
from scones.monitoring.latch import Alarm
from scones.monitoring.look import Looked

NAMESPACE = "/aws/sagemaker/Endpoints/data-metrics"
"""Where Model Monitor's containers publish an endpoint's metrics.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-cloudwatch.html
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one look came to."""

    looked: Looked
    refused: Mapping[Reason, int]
    canaries: Sequence[Canary]
    alarms: Sequence[Alarm]
    """Those that stand after it."""


def dimensions(endpoint: str) -> dict[str, str]:
    """What tells one endpoint's metrics from another's; the schedule carries the endpoint's name."""
    return {"Endpoint": endpoint, "MonitoringSchedule": endpoint}


def figures(outcome: Outcome) -> dict[str, float]:
    """The value of each metric; evidence counts in alarm lines, of the stream's detector or the window's check.

    Nothing is said of the channels without a verdict, nor of the accuracy where its estimate is not trusted.
    """
    looked = outcome.looked
    verdict, accuracy = looked.verdict, looked.accuracy
    found = {
        "images_seen": float(looked.photos),
        "records_refused": float(sum(count for reason, count in outcome.refused.items() if reason not in PASSED_OVER)),
        "replay_mismatch": float(len(looked.replayed.mismatches)),
        "drift_alarm": float(any(alarm.kind == "drift" for alarm in outcome.alarms)),
        "drift_evidence": max(looked.evidence, verdict.score / verdict.threshold if verdict.enough else 0.0),
        "canary_failures": float(sum(not canary.right for canary in outcome.canaries)),
    }
    if verdict.enough:
        found |= {f"feature_baseline_drift_{shift.name}": shift.score / verdict.threshold for shift in verdict.channels}
    if accuracy and accuracy.trusted:
        found["accuracy_estimate"] = accuracy.accuracy
    return found
