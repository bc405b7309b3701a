"""The alert holds what happened, since when, how sure that is and what to do."""

from dataclasses import replace

import numpy as np

from batches import batch, evidence, swapped
from scones.monitoring.alerts.alert import MAX_EXAMPLES, Evidence, Severity, make_alert
from scones.monitoring.alerts.cause import Cause
from scones.monitoring.drift.stream_detector import StreamAlarm
from scones.monitoring.performance.accuracy_estimate import AccuracyEstimate
from scones.monitoring.performance.labels import PHOTOS_TO_LABEL, LabelledAccuracy

HELD = AccuracyEstimate(0.87, 0.8, 0.93, trusted=True, why="photos like these were simulated")
DARK = evidence(batch(brightness=-2, sharpness=-2))


def with_estimate(estimate: AccuracyEstimate | None, found: Evidence = DARK) -> Severity:
    """How severe a darker batch is with this estimate."""
    return make_alert(replace(found, estimate=estimate)).severity


def test_the_three_loudest_channels_are_named() -> None:
    """With the darker and blurrier ones first."""
    alert = make_alert(DARK)
    assert {moved.channel for moved in alert.moved[:2]} == {"brightness", "sharpness"}
    assert len(alert.moved) == 3
    assert set(alert.headline) == {"darker", "blurrier"}


def test_severity_follows_the_accuracy() -> None:
    """What holds is a notice, what fell a lot is critical, and what nobody can tell is a warning."""
    assert with_estimate(HELD) is Severity.NOTICE
    assert with_estimate(replace(HELD, accuracy=0.7, low=0.64, high=0.76)) is Severity.CRITICAL
    assert with_estimate(replace(HELD, accuracy=0.8, high=0.88)) is Severity.WARNING
    assert with_estimate(replace(HELD, trusted=False)) is Severity.WARNING
    assert with_estimate(None) is Severity.WARNING


def test_labels_are_believed_before_an_estimate() -> None:
    """What was counted on labels outweighs what was estimated without."""
    fell = LabelledAccuracy(0.6, 0.5, 0.7, 30)
    assert make_alert(replace(DARK, estimate=HELD, exact=fell)).severity is Severity.CRITICAL


def test_another_model_is_critical_and_dated_to_its_first_answer() -> None:
    """The replay tells the very photo; no estimate is shown, for none holds."""
    alert = make_alert(replace(evidence(swapped(batch(), first=30)), estimate=HELD))
    assert alert.severity is Severity.CRITICAL
    assert 1031 <= alert.since.onset <= 1035
    assert alert.accuracy.estimate is None
    assert (alert.mix, alert.moved) == ((), ())
    assert alert.steps[0].command == "scones deploy"
    assert all(example.expected and not example.like for example in alert.worst)


def test_no_estimate_of_unfamiliar_photos_is_trusted() -> None:
    """A photo of something else has no right answer."""
    alert = make_alert(replace(evidence(batch(unfamiliarity=3)), estimate=HELD))
    assert alert.reason.cause is Cause.UNFAMILIAR
    assert alert.accuracy.estimate is not None
    assert not alert.accuracy.estimate.trusted


def test_the_onset_is_estimated_from_the_photos() -> None:
    """Forty photos as before, then sixty dark ones."""
    clean, dark = batch(), batch(brightness=-3)
    mixed = replace(clean, values=np.concatenate([clean.values[:40], dark.values[40:]]))
    since = make_alert(evidence(mixed)).since
    assert 1038 <= since.onset <= 1044
    assert since.onset_time == mixed.times[since.onset - 1001]
    assert (since.photo, since.time) == (1100, mixed.times[-1])


def test_the_streams_own_alarm_dates_it() -> None:
    """An onset before the batch has a number, but no time that this look knows."""
    since = make_alert(replace(DARK, alarm=StreamAlarm(1020, 990, 1.4))).since
    assert (since.photo, since.onset) == (1020, 990)
    assert since.onset_time == ""
    assert since.time == DARK.batch.times[19]


def test_the_mix_is_told_only_while_the_pictures_are_quiet() -> None:
    """Dark photos fool the method."""
    assert make_alert(DARK).mix == ()
    leaning = make_alert(evidence(batch(log_odds=1.5)))
    assert [name for name, _, _ in leaning.mix] == ["bicycle", "motorcycle"]
    assert leaning.mix[1][2] > 0.6


def test_a_dozen_worst_photos_stand_beside_training_photos() -> None:
    """Each names the photo that it is most like, if the names are known; thirty are to be labelled."""
    alert = make_alert(DARK)
    assert len(alert.worst) == MAX_EXAMPLES
    assert all(example.like.startswith("bicycle/") for example in alert.worst)
    assert len({item.event for item in alert.label}) == PHOTOS_TO_LABEL
    assert not any(example.like for example in make_alert(evidence(DARK.batch, names=False)).worst)


def test_the_same_evidence_makes_the_same_alert() -> None:
    """Also the photos to label, which are drawn."""
    assert make_alert(DARK) == make_alert(DARK)
