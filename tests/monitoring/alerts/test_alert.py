"""The alert contains what happened, since when, how certain that is and what to do."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from batches import alert_on, batch, registered, run_of, swapped
from scones.monitoring.alerts.alert import MAX_EXAMPLES, Severity, make_alert
from scones.monitoring.alerts.cause import Cause
from scones.monitoring.drift.stream_detector import StreamAlarm
from scones.monitoring.performance.accuracy_estimate import AccuracyEstimate
from scones.monitoring.performance.labels import PHOTOS_TO_LABEL

HELD = AccuracyEstimate(0.87, 0.8, 0.93, trusted=True, why="similar photos were simulated")
DARK = run_of(batch(brightness=-2, sharpness=-2))


def with_estimate(estimate: AccuracyEstimate | None) -> Severity:
    """How severe a darker batch is with this estimate."""
    return alert_on(replace(DARK, accuracy=estimate)).severity


def test_the_three_features_that_changed_most_are_named() -> None:
    """With the darker and blurrier ones first."""
    alert = alert_on(DARK)
    assert {change.feature for change in alert.changes[:2]} == {"brightness", "sharpness"}
    assert len(alert.changes) == 3
    assert set(alert.headline) == {"darker", "blurrier"}


def test_what_the_photos_show_is_named_once_and_in_words() -> None:
    """However many directions of the backbone's features changed; an operator has never heard of those."""
    alert = alert_on(batch(content_1=-1.5, content_2=2, content_4=1.5))
    assert [change.feature for change in alert.changes].count("content") == 1
    assert alert.changes[0].beyond.startswith("what the photos show changed: ")
    assert "content_" not in " ".join(map(str, alert.changes))
    assert all(example.similar_to for example in alert.examples)


def test_severity_follows_the_accuracy() -> None:
    """An accuracy that holds is a notice, one that fell a lot is critical, and an unknown one is a warning."""
    assert with_estimate(HELD) is Severity.NOTICE
    assert with_estimate(replace(HELD, accuracy=0.7, low=0.64, high=0.76)) is Severity.CRITICAL
    assert with_estimate(replace(HELD, accuracy=0.8, high=0.88)) is Severity.WARNING
    assert with_estimate(replace(HELD, trusted=False)) is Severity.WARNING
    assert with_estimate(None) is Severity.WARNING


def test_another_model_is_critical_and_dated_to_its_first_answer() -> None:
    """The prediction check finds the very photo; no estimate is shown, for none holds."""
    alert = alert_on(replace(run_of(swapped(batch(), first=30)), accuracy=HELD))
    assert alert.severity is Severity.CRITICAL
    assert alert.when.onset == 1031
    assert alert.headline == ("63 of 100 predictions differ from those of the model deployed last",)
    assert alert.accuracy is None
    assert (alert.class_mix, alert.changes) == ((), ())
    assert alert.steps[0].command == "scones deploy"
    assert all(example.expected and not example.similar_to for example in alert.examples)


def test_no_estimate_of_unfamiliar_photos_is_trusted() -> None:
    """A photo of something else has no right answer."""
    alert = alert_on(replace(run_of(batch(ood_score=3)), accuracy=HELD))
    assert alert.cause.cause is Cause.UNFAMILIAR
    assert alert.accuracy is not None
    assert not alert.accuracy.trusted


def test_the_odds_are_those_of_the_window_test() -> None:
    """None if only the stream detector fired; one of 2,001 splits scores as high as dark photos do."""
    odds = alert_on(DARK).odds
    assert (odds.photos, odds.per_thousand) == (100, 0.1)
    assert odds.times == DARK.verdict.score / DARK.verdict.threshold > 1
    assert odds.unchanged == pytest.approx(2001)
    quiet = replace(DARK, verdict=replace(DARK.verdict, alarm=False), stream_alarm=StreamAlarm(1020, 990, 1.4))
    assert alert_on(quiet).odds.times == 0


@pytest.mark.parametrize(
    ("moved", "headline"),
    [
        ({"log_odds": 1.5}, ("bicycle 50% -> 0%",)),
        ({"ood_score": 3}, ("96% of the photos have a high OOD score, 10% is usual",)),
        ({"brightness": -2, "log_odds": 1.5}, ("darker",)),
        ({"content_2": 2}, ("61% of the photos show what few photos of the baseline do, 5% is usual",)),
    ],
)
def test_the_headline_names_what_the_cause_is_about(moved: dict[str, Any], headline: tuple[str, ...]) -> None:
    """The class that changed most, the photos with a high OOD score or of rare content, or how the pictures changed."""
    assert alert_on(batch(**moved)).headline == headline


def test_another_seed_asks_for_labels_of_other_photos() -> None:
    """They are drawn."""
    window = DARK.window
    assert window
    one, other = (make_alert(DARK, window, replace(registered(), seed=seed), "e", "dev").to_label for seed in (1, 2))
    assert one != other


def test_the_onset_is_estimated_from_the_photos() -> None:
    """Forty photos as before, then sixty dark ones."""
    clean, dark = batch(), batch(brightness=-3)
    mixed = replace(clean, features=np.concatenate([clean.features[:40], dark.features[40:]]))
    since = alert_on(mixed).when
    assert 1038 <= since.onset <= 1044
    assert since.onset_time == mixed.times[since.onset - 1001]
    assert (since.photo, since.time) == (1100, mixed.times[-1])


def test_the_streams_own_alarm_dates_it() -> None:
    """An onset before the window has a number, but no time that this run knows."""
    since = alert_on(replace(DARK, stream_alarm=StreamAlarm(1020, 990, 1.4))).when
    assert (since.photo, since.onset) == (1020, 990)
    assert since.onset_time == ""
    assert since.time == batch().times[19]


def test_the_class_mix_is_shown_only_if_image_features_are_unchanged() -> None:
    """Dark photos fool the method."""
    assert alert_on(DARK).class_mix == ()
    skewed = alert_on(batch(log_odds=1.5))
    assert [name for name, _, _ in skewed.class_mix] == ["bicycle", "motorcycle"]
    assert skewed.class_mix[1][2] > 0.6


def test_a_dozen_changed_photos_are_shown_beside_training_photos() -> None:
    """Each names the photo that it is most like, if the names are known; thirty are to be labelled."""
    alert = alert_on(DARK)
    assert len(alert.examples) == MAX_EXAMPLES
    assert all(example.similar_to.startswith("bicycle/") for example in alert.examples)
    assert len({item.event for item in alert.to_label}) == PHOTOS_TO_LABEL
    assert not any(example.similar_to for example in alert_on(DARK, names=False).examples)


def test_the_same_run_makes_the_same_alert() -> None:
    """Also the photos to label, which are drawn."""
    assert alert_on(DARK) == alert_on(DARK)
