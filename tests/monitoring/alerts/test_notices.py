"""The notice fits SNS, and its words are these."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches import batch, evidence, swapped
from scones.monitoring.alerts.alert import AccuracyChange, Alert, make_alert
from scones.monitoring.alerts.notices import (
    SUBJECT_CHARACTERS,
    accuracy_lines,
    alert_json,
    notice_text,
    since_lines,
    subject_line,
)
from scones.monitoring.performance.accuracy_estimate import AccuracyEstimate
from scones.monitoring.performance.labels import LabelledAccuracy

PAGE = "s3://bucket/monitor/alerts/20261123-030512.html"
FELL = AccuracyEstimate(0.71, 0.64, 0.78, trusted=True, why="photos like these were simulated")
DARK = make_alert(replace(evidence(batch(brightness=-2, sharpness=-2)), estimate=FELL))
OTHER = make_alert(evidence(swapped(batch())))


def test_the_text_of_darker_photos() -> None:
    """All that a person needs at 3 a.m., in the order of need."""
    lines = notice_text(DARK, PAGE).splitlines()
    assert lines[:4] == [
        "Likely cause: image quality. The pictures themselves changed, more than what is on them.",
        "Endpoint: scones-test",
        "Since: photo 1,001, 2026-11-23 03:00 UTC (estimated); it rang at photo 1,100, 2026-11-23 03:01 UTC",
        "Right answers: 88% -> 71% [64-78], estimated without labels, trusted: photos like these were simulated",
    ]
    assert "What to do now:" in lines
    assert "   scones up --threshold 0.95" in lines
    assert "   scones monitor --acknowledge" in lines
    assert lines[-1] == f"The photos, and 30 to label next: {PAGE}"


def test_the_text_of_another_model() -> None:
    """Certain, and with the remedy first; nothing of what moved by chance."""
    assert notice_text(OTHER, PAGE).splitlines() == [
        f"Certain cause: model changed. O{OTHER.reason.because[1:]}.",
        "Endpoint: scones-test",
        f"Since: {next(since_lines(OTHER.since))}",
        "Right answers: 88% when trained; not known now",
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
        "How sure: certain: the same photos were asked twice, so no chance is in it.",
        f"The photos, and 30 to label next: {PAGE}",
    ]


def test_the_subject_says_cause_change_and_loss() -> None:
    """Whoever reads only the subject knows whether to get up."""
    assert subject_line(DARK).startswith("Scones critical: image quality: ")
    assert subject_line(DARK).endswith("; accuracy 88% -> 71%")
    assert subject_line(OTHER).startswith("Scones critical: model changed: of 100 photos replayed")


@given(st.lists(st.text(max_size=60), max_size=6))
def test_a_subject_always_fits_sns(headline: list[str]) -> None:
    """One line of at most 100 ASCII characters, in whole phrases."""
    line = subject_line(replace(DARK, headline=tuple(headline)))
    assert len(line) <= SUBJECT_CHARACTERS
    assert line.isascii()
    assert line.isprintable()


def test_labels_come_before_the_estimate() -> None:
    """The exact figure and the one that labels correct, each with how many labels."""
    figures = AccuracyChange(0.88, FELL, LabelledAccuracy(0.7, 0.55, 0.82, 30), LabelledAccuracy(0.73, 0.66, 0.8, 30))
    assert list(accuracy_lines(figures)) == [
        "88% -> 73% [66-80] on all photos, from 30 labels",
        "88% -> 70% [55-82] on the 30 labelled photos",
        "88% -> 71% [64-78], estimated without labels, trusted: photos like these were simulated",
    ]


def test_an_untrusted_estimate_says_so() -> None:
    """It is shown, but not in the subject."""
    doubtful = replace(DARK, accuracy=replace(DARK.accuracy, estimate=replace(FELL, trusted=False, why="label some")))
    assert "NOT to be trusted: label some" in notice_text(doubtful, PAGE)
    assert "accuracy" not in subject_line(doubtful)


def test_programs_get_the_same_as_json() -> None:
    """The cause, the figures, the events to label with their chances; no photos."""
    found = json.loads(alert_json(DARK, PAGE))
    assert (found["format"], found["severity"], found["cause"]) == ("scones-alert-1", "critical", "image quality")
    assert found["accuracy"]["estimate"]["accuracy"] == 0.71
    assert found["since"]["photo"] == 1100
    assert len(found["label"]) == 30
    assert 0 < found["label"][0]["chance"] <= 1
    assert len(alert_json(DARK, PAGE)) < 10_000


@pytest.mark.parametrize("alert", [DARK, OTHER])
def test_an_alert_without_channels_has_a_text(alert: Alert) -> None:
    """Also where nothing could be measured."""
    bare = replace(alert, moved=(), headline=(), mix=(), label=())
    assert "What to do now" in notice_text(bare, PAGE)
