"""Figures: what each look publishes to CloudWatch, under the names that Model Monitor's users look for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scones.monitoring.canary import Canary
from scones.monitoring.detectors import Verdict
from scones.monitoring.intake import PASSED_OVER, Reason
from scones.monitoring.latch import Alarm
from scones.monitoring.replay import Replayed

NAMESPACE = "/aws/sagemaker/Endpoints/data-metrics"
"""Where Model Monitor's containers publish an endpoint's metrics.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-cloudwatch.html
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one look came to."""

    photos: int
    verdict: Verdict
    replayed: Replayed
    refused: Mapping[Reason, int]
    canaries: Sequence[Canary]
    alarms: Sequence[Alarm]
    """Those that stand after it."""


def dimensions(endpoint: str) -> dict[str, str]:
    """What tells one endpoint's metrics from another's; the schedule carries the endpoint's name."""
    return {"Endpoint": endpoint, "MonitoringSchedule": endpoint}


def figures(outcome: Outcome) -> dict[str, float]:
    """The value of each metric; evidence counts in alarm lines, and without a verdict there is none.

    A channel may lie beyond the line by itself.
    """
    verdict = outcome.verdict
    found = {
        "images_seen": float(outcome.photos),
        "records_refused": float(sum(count for reason, count in outcome.refused.items() if reason not in PASSED_OVER)),
        "replay_mismatch": float(len(outcome.replayed.mismatches)),
        "drift_alarm": float(any(alarm.kind == "drift" for alarm in outcome.alarms)),
        "canary_failures": float(sum(not canary.right for canary in outcome.canaries)),
    }
    if verdict.enough:
        found["drift_evidence"] = verdict.score / verdict.threshold
        found |= {f"feature_baseline_drift_{shift.name}": shift.score / verdict.threshold for shift in verdict.channels}
    return found
