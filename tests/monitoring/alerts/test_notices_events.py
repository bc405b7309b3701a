"""What is wrong is said in a subject that SNS takes, and in lines that say what to do."""

from dataclasses import replace

from batches import batch, evidence, swapped
from scones.monitoring.alerts.alert import make_alert
from scones.monitoring.alerts.notices import (
    alert_event,
    baseline_event,
    drift_beside_model_event,
    probe_event,
    release_event,
)
from scones.monitoring.drift.stream_detector import StreamAlarm
from scones.monitoring.performance.prediction_check import ProbeResult

PAGE = "s3://bucket/monitor/alerts/1.html"


def test_what_is_well_is_no_finding() -> None:
    """Nothing to say."""
    well = (ProbeResult("k", "bicycle", "bicycle"),)
    assert [*probe_event(well), *release_event("e", "c1", "c1"), *baseline_event("v1", "v1")] == []


def test_each_finding_says_what_which_and_what_to_do() -> None:
    """Subjects of at most 100 ASCII characters; the time, the numbers and the next step in the body."""
    both = evidence(swapped(batch(brightness=-2)))
    found = [
        alert_event(make_alert(evidence(batch(brightness=-2))), PAGE),
        alert_event(make_alert(evidence(swapped(batch()))), PAGE),
        *probe_event(
            (ProbeResult("data/v/test/1.png", "bicycle", "motorcycle"), ProbeResult("data/v/test/2.png", "bicycle", ""))
        ),
        *drift_beside_model_event(make_alert(both), both.verdict, StreamAlarm(1_020, 1_001, 9.0)),
        *release_event("scones-dev", "scones-dev--2", "scones-dev--1"),
        *release_event("scones-dev", None, "scones-dev--1"),
        *baseline_event("v1", "v2"),
    ]
    kinds = ["drift", "replay", "canary", "drift", "release", "release", "release"]
    assert [finding.kind for finding in found] == kinds
    assert all(len(finding.subject) <= 100 and finding.subject.isascii() for finding in found)
    bodies = [finding.body for finding in found]
    assert "photo 1,001, 2026-11-23 03:00 UTC" in bodies[0]
    assert "Certain cause: model changed" in bodies[1]
    assert "no answer instead of bicycle" in bodies[2]
    assert "since photo 1,001" in bodies[3]
    assert all("scones " in body for body in bodies)


def test_another_model_alone_is_told_once() -> None:
    """Where the stream and the window are quiet, and where nothing but drift was found, there is no second notice."""
    other = evidence(swapped(batch()))
    quiet = replace(other.verdict, alarm=False)
    dark = evidence(batch(brightness=-2))
    assert not [*drift_beside_model_event(make_alert(other), quiet, None), *drift_beside_model_event(None, quiet, None)]
    assert not list(drift_beside_model_event(make_alert(dark), dark.verdict, None))
