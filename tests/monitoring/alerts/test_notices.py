"""The notice fits SNS, and its words are these."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches import alert_on, batch, run_of, swapped
from scones.monitoring.alerts.alert import Alert
from scones.monitoring.alerts.notices import (
    MAX_SUBJECT_CHARACTERS,
    ActiveAlarm,
    AlarmEvent,
    alert_event,
    alert_json,
    drift_beside_model_event,
    new_alarms,
    notice_text,
    since_line,
    subject_line,
)
from scones.monitoring.drift.stream_detector import StreamAlarm
from scones.monitoring.performance.accuracy_estimate import AccuracyEstimate

PAGE = "s3://bucket/monitor/alerts/20261123-030512.html"
FELL = AccuracyEstimate(0.71, 0.64, 0.78, trusted=True, why="similar photos were simulated")
DARK = alert_on(replace(run_of(batch(brightness=-2, sharpness=-2)), accuracy=FELL))
OTHER = alert_on(swapped(batch()))


def test_the_text_of_darker_photos() -> None:
    """All that a person needs at 3 a.m., in the order of need."""
    lines = notice_text(DARK, PAGE).splitlines()
    assert lines[:4] == [
        "Probable cause: image quality. Image features changed more than the content of the photos.",
        "Endpoint: scones-test",
        "Since: photo 1,001, 2026-11-23 03:00 UTC (estimated); it fired at photo 1,100, 2026-11-23 03:01 UTC",
        "Accuracy: 88% -> 71% [64% to 78%, 90%], estimated without labels, trusted: similar photos were simulated",
    ]
    assert "What to do now:" in lines
    assert "   scones up --threshold 0.95" in lines
    assert "   scones monitor --acknowledge" in lines
    assert lines[-1] == f"The photos, and 30 to label next: {PAGE}"


def test_the_text_of_another_model() -> None:
    """Certain, and with the remedy first; nothing of what moved by chance."""
    assert notice_text(OTHER, PAGE).splitlines() == [
        f"Certain cause: model changed. {OTHER.cause.reason}.",
        "Endpoint: scones-test",
        f"Since: {since_line(OTHER.when)}",
        "Accuracy: 88% when trained; not known now",
        "",
        "What to do now:",
        "1. Put the registered model back: the one that was deployed last.",
        "   scones deploy",
        "2. See what is running, and ask who changed the endpoint.",
        "   scones status",
        "3. Evaluate it once it is back. Do not trust predictions since the onset.",
        "   scones evaluate",
        "4. When it is fixed, acknowledge the alarm; until then it does not fire again.",
        "   scones monitor --acknowledge",
        "",
        "How certain: certain: the registered model predicted the same photos, so chance plays no part.",
        f"The photos, and 30 to label next: {PAGE}",
    ]


def test_the_subject_says_cause_change_and_loss() -> None:
    """Whoever reads only the subject knows whether to get up."""
    assert subject_line(DARK).startswith("Scones critical: image quality: ")
    assert subject_line(DARK).endswith("; accuracy 88% -> 71%")
    assert subject_line(OTHER).startswith("Scones critical: model changed: ")


@given(st.lists(st.text(max_size=60), max_size=6))
def test_a_subject_always_fits_sns(headline: list[str]) -> None:
    """One line of at most 100 ASCII characters, in whole phrases."""
    line = subject_line(replace(DARK, headline=tuple(headline)))
    assert len(line) <= MAX_SUBJECT_CHARACTERS
    assert line.isascii()
    assert line.isprintable()


def test_an_untrusted_estimate_says_so() -> None:
    """It is shown, but not in the subject."""
    doubtful = replace(DARK, accuracy=replace(FELL, trusted=False, why="label some"))
    assert "NOT to be trusted: label some" in notice_text(doubtful, PAGE)
    assert "accuracy" not in subject_line(doubtful)


def test_programs_get_the_same_as_json() -> None:
    """The cause, the figures, the events to label with their chances; no photos."""
    found = json.loads(alert_json(DARK, PAGE))
    assert (found["format"], found["severity"], found["cause"]) == ("scones-alert-2", "critical", "image quality")
    assert found["accuracy"]["estimate"]["accuracy"] == 0.71
    assert found["since"]["photo"] == 1100
    assert len(found["label"]) == 30
    assert 0 < found["label"][0]["chance"] <= 1
    assert len(alert_json(DARK, PAGE)) < 10_000


@pytest.mark.parametrize("alert", [DARK, OTHER])
def test_an_alert_without_features_has_a_text(alert: Alert) -> None:
    """Also where nothing could be measured."""
    bare = replace(alert, changes=(), headline=(), class_mix=(), to_label=())
    assert "What to do now" in notice_text(bare, PAGE)


DRIFT, PROBE = AlarmEvent("drift", "photos have changed", ""), AlarmEvent("probe", "wrong predictions", "")


def test_an_active_alarm_does_not_fire_again() -> None:
    """One alarm of each kind is active at a time; another kind fires beside it."""
    assert new_alarms((), [DRIFT, PROBE]) == (DRIFT, PROBE)
    active = (ActiveAlarm(DRIFT, "2026-11-23T12:00:00Z", sent=True),)
    assert new_alarms(active, [AlarmEvent("drift", "changed even more", ""), PROBE]) == (PROBE,)
    assert new_alarms(active, []) == ()


def test_drift_beside_another_model_has_a_notice_of_its_own() -> None:
    """Unless nothing drifted, or nothing but drift was found."""
    both = run_of(swapped(batch(brightness=-2)))
    (event,) = drift_beside_model_event(alert_on(both), replace(both, stream_alarm=StreamAlarm(1_020, 1_001, 9.0)))
    assert event.kind == "drift"
    assert "since photo 1,001" in event.body
    other = run_of(swapped(batch()))
    quiet = replace(other, verdict=replace(other.verdict, alarm=False))
    assert not [*drift_beside_model_event(alert_on(other), quiet), *drift_beside_model_event(None, quiet)]
    dark = run_of(batch(brightness=-2))
    assert not list(drift_beside_model_event(alert_on(dark), dark))


def test_the_event_of_an_alert_fits_sns() -> None:
    """Subjects of at most 100 ASCII characters; the time and the next step in the body."""
    events = [alert_event(DARK, PAGE), alert_event(OTHER, PAGE)]
    assert [event.kind for event in events] == ["drift", "prediction"]
    assert all(len(event.subject) <= 100 and event.subject.isascii() for event in events)
    assert "photo 1,001, 2026-11-23 03:00 UTC" in events[0].body
    assert "Certain cause: model changed" in events[1].body
