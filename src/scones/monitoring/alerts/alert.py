"""Alert: all that a person must know about an alarm, as one value; pure. `notice` and `alert_page` show it."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from scones.data.decode import png
from scones.monitoring.alerts.cause import (
    Cause,
    NextStep,
    ProbableCause,
    Signs,
    estimate_mix,
    likely_cause,
    mix_can_be_shown,
    next_steps,
)
from scones.monitoring.alerts.descriptions import (
    ChangeDirection,
    FeatureChange,
    describe_photo,
    describe_shift,
    estimate_onset,
    most_changed,
    nearest_baseline,
)
from scones.monitoring.drift.features import FEATURES, PREDICTION_FEATURES, Photos
from scones.monitoring.drift.normal_scores import Floats
from scones.monitoring.drift.stream_detector import StreamAlarm
from scones.monitoring.drift.window_test import WindowVerdict
from scones.monitoring.performance.accuracy_estimate import AccuracyEstimate
from scones.monitoring.performance.labels import PHOTOS_TO_LABEL, LabelledAccuracy, choose_photos
from scones.monitoring.performance.prediction_check import PredictionCheck, check_predictions

MAX_EXAMPLES: Final = 12
_TOP_CHANNELS: Final = 3
_TOP_WORDS: Final = 4
_BAD_LOSS: Final = 0.1
_NO_LOSS: Final = 0.03


class Severity(StrEnum):
    """How soon somebody should act."""

    CRITICAL = "critical"
    """Now: another model answers, or answers have become much worse."""
    WARNING = "warning"
    """Today."""
    NOTICE = "notice"
    """When there is time: the photos changed, but the answers hold, as far as can be told."""


@dataclass(frozen=True, slots=True)
class PhotoWindow:
    """Photos in the order in which they came, and what is known of each.

    *photos* is uint8 [n, H, W, 3], *values* [n, channels], *probabilities* [n, C]; *first* is the first one's number.
    *replayed* [n, C] is what the registered model answers, if it was asked.
    """

    photos: Photos
    values: Floats
    probabilities: Floats
    times: tuple[str, ...]
    events: tuple[str, ...]
    first: int = 1
    replayed: Floats | None = None

    def __len__(self) -> int:
        """How many photos there are."""
        return len(self.times)


@dataclass(frozen=True, slots=True)
class Known:
    """What training left: the baseline's channels, its photos' *names* in the same order, if known, and the rest."""

    endpoint: str
    classes: tuple[str, ...]
    values: Floats
    names: tuple[str, ...]
    accuracy: float
    mix: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that an alert is made from; what was not found out is None.

    *exact* is the accuracy on labelled photos, *corrected* the one of all photos that those labels make.
    """

    known: Known
    batch: PhotoWindow
    verdict: WindowVerdict
    per_thousand: float
    alarm: StreamAlarm | None = None
    replay: PredictionCheck | None = None
    """Of the batch, or of more photos than that."""
    estimate: AccuracyEstimate | None = None
    exact: LabelledAccuracy | None = None
    corrected: LabelledAccuracy | None = None


@dataclass(frozen=True, slots=True)
class AlarmTime:
    """By the number of a photo and by time: when it rang, and when it likely began."""

    photo: int
    time: str
    onset: int
    onset_time: str


@dataclass(frozen=True, slots=True)
class AccuracyChange:
    """The accuracy on the baseline, and now: estimated, if it was, and by labels, if there are any."""

    before: float
    estimate: AccuracyEstimate | None
    exact: LabelledAccuracy | None
    corrected: LabelledAccuracy | None


@dataclass(frozen=True, slots=True)
class ExamplePhoto:
    """One of the worst photos, as a PNG: what the endpoint made of it, what is odd about it, and what is most like it.

    *expected* is what the registered model says of it, where that was asked; *like* names a training photo.
    """

    png: bytes
    event: str
    time: str
    said: str
    confidence: float
    odd: str
    expected: str = ""
    like: str = ""


@dataclass(frozen=True, slots=True)
class PhotoToLabel:
    """A photo to label next, as a PNG, and the chance that it had of being chosen."""

    event: str
    time: str
    png: bytes
    chance: float


@dataclass(frozen=True, slots=True)
class FalseAlarmOdds:
    """How sure the alarm is: one in *unchanged* batches as large scores as high; the budget is in false alarms.

    *times_the_line* is 0 where only the watch over the stream rang, and none of the batch's own tests.
    """

    photos: int
    times_the_line: float
    unchanged: float
    per_thousand: float


@dataclass(frozen=True, slots=True)
class Alert:
    """The alert."""

    severity: Severity
    reason: ProbableCause
    headline: tuple[str, ...]
    """What a subject line should say beside the cause, the most telling first."""
    endpoint: str
    since: AlarmTime
    moved: tuple[FeatureChange, ...]
    accuracy: AccuracyChange
    mix: tuple[tuple[str, float, float], ...]
    """Each class's share before and now; nothing where it could not be told."""
    odds: FalseAlarmOdds
    steps: tuple[NextStep, ...]
    worst: tuple[ExamplePhoto, ...]
    label: tuple[PhotoToLabel, ...]


def make_alert(evidence: Evidence, seed: int = 0) -> Alert:
    """Put the evidence together; *seed* decides which photos are to be labelled."""
    known, batch, verdict = evidence.known, evidence.batch, evidence.verdict
    replay = evidence.replay or _compare(batch)
    mix = estimate_mix(batch.probabilities, known.mix)
    reason = likely_cause(Signs(verdict, replay, known.mix, mix))
    direction = ChangeDirection.of(known.values, batch.values, verdict.channels)
    accuracy = AccuracyChange(known.accuracy, _estimate(reason, evidence.estimate), evidence.exact, evidence.corrected)
    changes = tuple(zip(known.classes, known.mix, mix, strict=True))
    return Alert(
        severity=_severity(reason, accuracy),
        reason=reason,
        headline=_headline(reason, _changes(evidence, len(FEATURES)), changes),
        endpoint=known.endpoint,
        since=_since(evidence, direction),
        # Beside a certain cause, what moved by chance would only mislead.
        moved=() if reason.certain else _changes(evidence, _TOP_CHANNELS),
        accuracy=accuracy,
        # The answers of another model tell nothing of the classes, and photos of something else are of none.
        mix=changes if reason.cause not in {Cause.MODEL, Cause.UNFAMILIAR} and mix_can_be_shown(verdict) else (),
        odds=_odds(evidence),
        steps=next_steps(reason.cause),
        worst=_examples(evidence, direction),
        label=_to_label(batch, seed),
    )


def _estimate(reason: ProbableCause, estimate: AccuracyEstimate | None) -> AccuracyEstimate | None:
    """Say so where no estimate can hold."""
    if estimate is None or reason.cause is Cause.MODEL:
        return None
    if reason.cause is Cause.UNFAMILIAR:
        return replace(estimate, trusted=False, why="a photo of something else has no right answer")
    return estimate


def _headline(
    reason: ProbableCause, moved: tuple[FeatureChange, ...], mix: tuple[tuple[str, float, float], ...]
) -> tuple[str, ...]:
    loud = [change for change in moved if change.times >= 1] or list(moved[:1])
    if reason.cause is Cause.MODEL:
        return (reason.because,)
    if reason.cause is Cause.MIX:
        name, before, now = max(mix, key=lambda change: abs(change[2] - change[1]))
        return (f"{name} {before:.0%} -> {now:.0%}",)
    if reason.cause is Cause.UNFAMILIAR:
        strange = (change for change in moved if change.channel == "unfamiliarity")
        return tuple(f"{change.now} of the photos are strange, {change.before} is usual" for change in strange)
    if reason.cause is Cause.QUALITY:
        loud = [change for change in loud if change.channel not in PREDICTION_FEATURES]
    return tuple(dict.fromkeys(change.word for change in loud))[:_TOP_WORDS]


def _compare(batch: PhotoWindow) -> PredictionCheck | None:
    return None if batch.replayed is None else check_predictions(batch.probabilities, batch.replayed)


def _severity(reason: ProbableCause, accuracy: AccuracyChange) -> Severity:
    if reason.cause is Cause.MODEL:
        return Severity.CRITICAL if reason.certain else Severity.WARNING
    best = accuracy.corrected or accuracy.exact or accuracy.estimate
    if best is None or (isinstance(best, AccuracyEstimate) and not best.trusted):
        return Severity.WARNING
    if best.high < accuracy.before and best.accuracy <= accuracy.before - _BAD_LOSS:
        return Severity.CRITICAL
    return Severity.NOTICE if best.accuracy >= accuracy.before - _NO_LOSS else Severity.WARNING


def _since(evidence: Evidence, direction: ChangeDirection) -> AlarmTime:
    batch, alarm, replay = evidence.batch, evidence.alarm, _compare(evidence.batch)
    last = batch.first + len(batch) - 1
    if replay is not None and replay.another_model:
        began = batch.first + replay.mismatches[0]
    elif alarm is not None:
        began, last = alarm.onset, alarm.photo
    else:
        began = batch.first + estimate_onset(direction.along(evidence.known.values), direction.along(batch.values))
    return AlarmTime(last, _time(batch, last), began, _time(batch, began))


def _time(batch: PhotoWindow, number: int) -> str:
    """The time of a photo; empty where it came before this batch."""
    place = number - batch.first
    return batch.times[place] if 0 <= place < len(batch) else ""


def _changes(evidence: Evidence, most: int) -> tuple[FeatureChange, ...]:
    known, batch, verdict = evidence.known, evidence.batch, evidence.verdict
    return tuple(
        describe_shift(
            shift,
            known.values[:, FEATURES.index(shift.name)],
            batch.values[:, FEATURES.index(shift.name)],
            line=verdict.threshold,
            classes=known.classes,
        )
        for shift in verdict.channels[:most]
    )


def _odds(evidence: Evidence) -> FalseAlarmOdds:
    verdict = evidence.verdict
    times = verdict.score / verdict.threshold if verdict.alarm else 0.0
    return FalseAlarmOdds(len(evidence.batch), times, 1 / verdict.chance, evidence.per_thousand)


def _examples(evidence: Evidence, direction: ChangeDirection) -> tuple[ExamplePhoto, ...]:
    """Show what the two models disagree about, where they do; else what lies farthest in the change's direction."""
    known, batch = evidence.known, evidence.batch
    replay = _compare(batch)
    if replay is not None and replay.another_model:
        return tuple(_example(known, batch, place) for place in replay.mismatches[:MAX_EXAMPLES])
    places = most_changed(direction.along(batch.values), MAX_EXAMPLES)
    likes = nearest_baseline(known.values, batch.values[places]) if known.names else ()
    names = [known.names[like] for like in likes] or [""] * len(places)
    return tuple(
        replace(_example(known, batch, int(place)), expected="", like=name)
        for place, name in zip(places, names, strict=True)
    )


def _example(known: Known, batch: PhotoWindow, place: int) -> ExamplePhoto:
    answer = batch.probabilities[place]
    return ExamplePhoto(
        png=png(batch.photos[place]),
        event=batch.events[place],
        time=batch.times[place],
        said=known.classes[int(answer.argmax())],
        confidence=float(answer.max()),
        odd=describe_photo(batch.values[place], known.values, known.classes),
        expected="" if batch.replayed is None else _prediction(batch.replayed[place], known.classes),
    )


def _prediction(answer: Floats, classes: tuple[str, ...]) -> str:
    return f"{classes[int(answer.argmax())]} {answer.max():.0%}"


def _to_label(batch: PhotoWindow, seed: int) -> tuple[PhotoToLabel, ...]:
    choice = choose_photos(batch.probabilities.max(axis=1), PHOTOS_TO_LABEL, seed)
    return tuple(
        PhotoToLabel(batch.events[place], batch.times[place], png(batch.photos[place]), chance)
        for place, chance in zip(choice.photos.tolist(), choice.chances.tolist(), strict=True)
    )
