"""The three documents of SageMaker's Model Monitor, for the tools that read them; each channel is a feature.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-contract-outputs.html
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Literal

import numpy as np

from scones.monitoring.baseline import Baseline
from scones.monitoring.channels import CHANNELS
from scones.monitoring.detectors import Verdict
from scones.monitoring.intake import Reason
from scones.monitoring.summary import Figures, Summary

Check = Literal["baseline_drift_check", "data_type_check", "completeness_check"]
Document = dict[str, object]

_VERSION = 0
# What in a record is wrong, and which of Model Monitor's checks looks at it.
_CHECKS: Mapping[Reason, tuple[str, Check]] = {
    Reason.NO_CAPTURE: ("capture", "data_type_check"),
    Reason.GONE: ("capture", "completeness_check"),
    Reason.MALFORMED: ("capture", "data_type_check"),
    Reason.NO_PHOTO: ("photo", "completeness_check"),
    Reason.NO_ANSWER: ("probabilities", "completeness_check"),
    Reason.UNREADABLE: ("photo", "data_type_check"),
    Reason.OTHER_MODEL: ("probabilities", "data_type_check"),
}


def statistics(summary: Summary) -> Document:
    """statistics.json; no sketch, which cannot be had without one more library, but the histogram that is drawn."""
    features = []
    for name, figures, edges in zip(CHANNELS, summary.channels, summary.edges, strict=True):
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


def constraints(baseline: Baseline, threshold: float) -> Document:
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
        for index, name in enumerate(CHANNELS)
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


def violations(verdict: Verdict, refused: Mapping[Reason, int]) -> Document:
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
        if reason in _CHECKS:
            feature, check = _CHECKS[reason]
            found.append(_violation(feature, check, f"{reason}: {count}"))
    return {"violations": found}


def _violation(feature: str, check: Check, description: str) -> dict[str, str]:
    return {"feature_name": feature, "constraint_check_type": check, "description": description}


def _buckets(figures: Figures, bounds: list[float]) -> list[Document]:
    if figures.present:
        bounds = [min(bounds[0], figures.least), *bounds[1:-1], max(bounds[-1], figures.most)]
    return [
        {"lower_bound": low, "upper_bound": high, "count": float(count)}
        for (low, high), count in zip(pairwise(bounds), figures.counts, strict=True)
    ]
