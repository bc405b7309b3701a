"""Every metric has the name that Model Monitor's users look for."""

import numpy as np

from scones.monitoring.baseline import Baseline
from scones.monitoring.canary import Canary
from scones.monitoring.channels import CHANNELS
from scones.monitoring.detectors import check
from scones.monitoring.figures import Outcome, figures
from scones.monitoring.intake import Reason
from scones.monitoring.latch import Alarm, Finding
from scones.monitoring.replay import compare

BASELINE = Baseline(np.random.default_rng(5).normal(10, 2, (200, len(CHANNELS))), "v1")
HALF = np.full((3, 2), [0.3, 0.7])
NOT_REPLAYED = compare(HALF[:0], HALF[:0])


def test_every_metric_has_its_name_and_the_alarm_outlasts_the_verdict() -> None:
    """A standing alarm keeps `drift_alarm` at 1 although this look saw too few photos for evidence."""
    none = check(BASELINE, np.empty((0, len(CHANNELS))), false_alarm_rate=0.05)
    standing = Alarm(Finding("drift", "", ""), "2026-01-01T00:00:00Z")
    canaries = (Canary("k", "bicycle", "motorcycle"), Canary("k", "bicycle", "bicycle"))
    found = figures(Outcome(0, none, NOT_REPLAYED, {Reason.MALFORMED: 2, Reason.TWICE: 5}, canaries, (standing,)))
    assert found == {
        "images_seen": 0,
        "records_refused": 2,
        "drift_alarm": 1,
        "canary_failures": 1,
        "replay_mismatch": 0,
    }
    verdict = check(BASELINE, BASELINE.values[:100] + 20, false_alarm_rate=0.05)
    loud = figures(Outcome(100, verdict, compare(HALF, 1 - HALF), {}, (), ()))
    assert (loud["drift_alarm"], loud["images_seen"], loud["replay_mismatch"]) == (0, 100, 3)
    assert loud["drift_evidence"] > 1
    assert {f"feature_baseline_drift_{name}" for name in CHANNELS} < set(loud)
