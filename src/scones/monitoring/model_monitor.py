"""SageMaker Model Monitor's documents and metrics, for the tools that read them.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-contract-outputs.html
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scones.monitoring.capture.records import RefusalReason
from scones.monitoring.drift.baseline import Baseline
from scones.monitoring.drift.features import FEATURES
from scones.monitoring.drift.window_test import WindowVerdict

BUCKETS = 10
"""As many as Model Monitor gives."""

Floats = NDArray[np.float64]


class FeatureSummary:
    """Mean, spread, extremes and a histogram of each channel.

    The histogram's bounds come from *baseline* [n, channels]; what lies beyond counts in the outermost buckets.
    """

    def __init__(self, baseline: Floats) -> None:
        # A channel that a model does not give is not a number in all of its baseline.
        known = np.where(np.isfinite(baseline), baseline, 0.0)
        low, high = known.min(axis=0), known.max(axis=0)
        self.edges: Floats = np.linspace(low, np.where(high > low, high, low + 1), BUCKETS + 1, axis=1)
        self.photos = 0
        self.channels = [FeatureStatistics() for _ in FEATURES]

    def add(self, values: Floats) -> None:
        """Count the measurements *values* [n, channels] in; what is not a number is missing."""
        self.photos += len(values)
        for figures, column, inner in zip(self.channels, values.T, self.edges[:, 1:-1], strict=True):
            figures.add(column[np.isfinite(column)], inner)


class FeatureStatistics:
    """One channel's."""

    def __init__(self) -> None:
        self.present = 0
        self.mean = 0.0
        self.least, self.most = np.inf, -np.inf
        self.counts = np.zeros(BUCKETS, np.int64)
        self._squares = 0.0

    @property
    def deviation(self) -> float:
        """The standard deviation."""
        return float(np.sqrt(self._squares / max(1, self.present)))

    def add(self, values: Floats, inner: Floats) -> None:
        """Count *values* [n] in; *inner* are the bounds between the buckets."""
        if not len(values):
            return
        total = self.present + len(values)
        mean = float(values.mean())
        gap = mean - self.mean
        # Chan, Golub and LeVeque, 1979: sums of squares join without losing digits.
        self._squares += float(((values - mean) ** 2).sum()) + gap**2 * self.present * len(values) / total
        self.mean += gap * len(values) / total
        self.present = total
        self.least, self.most = min(self.least, float(values.min())), max(self.most, float(values.max()))
        self.counts += np.bincount(np.searchsorted(inner, values, side="right"), minlength=BUCKETS)


NAMESPACE = "/aws/sagemaker/Endpoints/data-metrics"
"""Where Model Monitor's containers publish an endpoint's metrics.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-cloudwatch.html
"""


def dimensions(endpoint: str) -> dict[str, str]:
    """What tells one endpoint's metrics from another's; the schedule carries the endpoint's name."""
    return {"Endpoint": endpoint, "MonitoringSchedule": endpoint}


CheckType = Literal["baseline_drift_check", "data_type_check", "completeness_check"]
Document = dict[str, object]

_VERSION = 0
# What in a record is wrong, and which of Model Monitor's checks looks at it.
_CHECK_OF_REASON: Mapping[RefusalReason, tuple[str, CheckType]] = {
    RefusalReason.NO_CAPTURE: ("capture", "data_type_check"),
    RefusalReason.GONE: ("capture", "completeness_check"),
    RefusalReason.MALFORMED: ("capture", "data_type_check"),
    RefusalReason.NO_PHOTO: ("photo", "completeness_check"),
    RefusalReason.NO_ANSWER: ("probabilities", "completeness_check"),
    RefusalReason.UNREADABLE: ("photo", "data_type_check"),
    RefusalReason.OTHER_MODEL: ("probabilities", "data_type_check"),
}


def statistics_document(summary: FeatureSummary) -> Document:
    """statistics.json; no sketch, which cannot be had without one more library, but the histogram that is drawn."""
    features = []
    for name, figures, edges in zip(FEATURES, summary.channels, summary.edges, strict=True):
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


def constraints_document(baseline: Baseline, threshold: float) -> Document:
    """constraints.json: how much of each channel there is, and the *threshold* beyond which its drift is an alarm."""
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
        # Model Monitor's own two methods are not ours; the score's meaning stands in the violation's description.
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


def violations_document(verdict: WindowVerdict, refused: Mapping[RefusalReason, int]) -> Document:
    """constraint_violations.json: channels beyond the alarm line, and records that could not be used."""
    found = []
    if verdict.alarm:
        # An alarm may come from all channels together: then it is said of the one that moved most.
        loud = [shift for shift in verdict.channels if shift.score > verdict.threshold] or verdict.channels[:1]
        found = [
            _violation(
                shift.name,
                "baseline_drift_check",
                f"score {shift.score:.3g}, alarm line {verdict.threshold:.3g}; median {shift.before:.4g} -> "
                f"{shift.now:.4g} in {verdict.photos} photos",
            )
            for shift in loud
        ]
    for reason, count in refused.items():
        if reason in _CHECK_OF_REASON:
            feature, check = _CHECK_OF_REASON[reason]
            found.append(_violation(feature, check, f"{reason}: {count}"))
    return {"violations": found}


def _violation(feature: str, check: CheckType, description: str) -> dict[str, str]:
    return {"feature_name": feature, "constraint_check_type": check, "description": description}


def _buckets(figures: FeatureStatistics, bounds: list[float]) -> list[Document]:
    if figures.present:
        bounds = [min(bounds[0], figures.least), *bounds[1:-1], max(bounds[-1], figures.most)]
    return [
        {"lower_bound": low, "upper_bound": high, "count": float(count)}
        for (low, high), count in zip(pairwise(bounds), figures.counts, strict=True)
    ]
