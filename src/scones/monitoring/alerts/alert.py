"""The alert: everything a person needs to know about an alarm, as one value; `notices` and the alert page show it."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from scones.data.decode import png
from scones.domain.text import name_env
from scones.monitoring.alerts.cause import (
    Cause,
    NextStep,
    ProbableCause,
    estimate_mix,
    mix_can_be_shown,
    next_steps,
    probable_cause,
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
from scones.monitoring.drift.features import CONTENT_FEATURES, FEATURES, MIN_PHOTOS, PREDICTION_FEATURES, Floats
from scones.monitoring.drift.traffic import PhotoWindow
from scones.monitoring.drift.window_test import MIN_BASELINE, WindowVerdict, window_test
from scones.monitoring.performance.accuracy_estimate import AccuracyEstimate
from scones.monitoring.performance.labels import PHOTOS_TO_LABEL, choose_photos
from scones.monitoring.performance.registered_model import PredictionCheck, RegisteredModel, check_predictions
from scones.monitoring.run import RunResult

MAX_EXAMPLES: Final = 12
_MAX_CHANGES: Final = 3
_MAX_WORDS: Final = 4
_CRITICAL_LOSS: Final = 0.1
_NO_LOSS: Final = 0.03
_DESCRIPTION_RATE: Final = 0.05
"""The rate of the test that only describes what changed, if the stream detector fired on too few photos for a test."""

ClassChange = tuple[str, float, float]
"""A class, and its share before and now."""


class Severity(StrEnum):
    """How soon a person should act."""

    CRITICAL = "critical"
    """Now: another model answers, or predictions have become much worse."""
    WARNING = "warning"
    """Today."""
    NOTICE = "notice"
    """When there is time: the photos changed, but the accuracy holds, as far as it can be estimated."""


@dataclass(frozen=True, slots=True)
class AlarmTime:
    """When the alarm fired, and the estimated onset of the change: number of the photo, and time."""

    photo: int
    time: str
    onset: int
    onset_time: str


@dataclass(frozen=True, slots=True)
class ExamplePhoto:
    """One of the most changed photos, as a PNG: its prediction, what is unusual, and the most similar training photo.

    *expected* is the registered model's prediction, if another model predicted.
    """

    png: bytes
    event: str
    time: str
    prediction: str
    confidence: float
    unusual: str
    expected: str = ""
    similar_to: str = ""


@dataclass(frozen=True, slots=True)
class PhotoToLabel:
    """A photo to label next, as a PNG, and the probability with which it was drawn."""

    event: str
    time: str
    png: bytes
    chance: float


@dataclass(frozen=True, slots=True)
class FalseAlarmOdds:
    """How likely the alarm is noise: one in *unchanged* windows without change scores as high.

    *times* is the score in units of the threshold; 0 if the stream detector fired, and not the window test.
    """

    photos: int
    times: float
    unchanged: float
    per_thousand: float
    """The budget: false alarms per 1,000 photos."""


@dataclass(frozen=True, slots=True)
class Alert:
    """The alert."""

    severity: Severity
    cause: ProbableCause
    headline: tuple[str, ...]
    """What a subject line should contain beside the cause, the most telling first."""
    endpoint: str
    when: AlarmTime
    changes: tuple[FeatureChange, ...]
    """The features that changed most."""
    accuracy_before: float
    """Of out-of-fold predictions, when the model was trained."""
    accuracy: AccuracyEstimate | None
    """Estimated now."""
    class_mix: tuple[ClassChange, ...]
    """Empty if the class mix cannot be estimated."""
    odds: FalseAlarmOdds
    steps: tuple[NextStep, ...]
    examples: tuple[ExamplePhoto, ...]
    to_label: tuple[PhotoToLabel, ...]
    labelling: str
    """The command that takes labels in."""


def make_alert(run: RunResult, window: PhotoWindow, model: RegisteredModel, endpoint: str, env: str) -> Alert:
    """The alert on a monitoring run that fired, about one *window* of it; its commands name environment *env*."""
    verdict = run.verdict if run.verdict.enough else _describing_test(run.verdict, window, model)
    mix = estimate_mix(window.probabilities, model.class_mix)
    cause = probable_cause(verdict, run.check, model.class_mix, mix)
    direction = ChangeDirection.of(model.baseline.values, window.features, verdict.features)
    changes = _changes(verdict, window, model)
    classes = tuple(zip(model.classes, model.class_mix, mix, strict=True))
    accuracy = _accuracy(cause, run.accuracy)
    return Alert(
        severity=_severity(cause, model.accuracy, accuracy),
        cause=cause,
        headline=_headline(cause, changes, classes),
        endpoint=endpoint,
        when=_when(run, window, model, direction),
        # If another model answers for certain, changed features would only mislead.
        changes=() if cause.certain else changes[:_MAX_CHANGES],
        accuracy_before=model.accuracy,
        accuracy=accuracy,
        # Predictions of another model say nothing about the classes, and other content belongs to none.
        class_mix=classes if cause.cause not in {Cause.MODEL, Cause.UNFAMILIAR} and mix_can_be_shown(verdict) else (),
        odds=_odds(verdict, len(window), model.budget.per_thousand),
        steps=next_steps(cause.cause, env),
        examples=_examples(window, model, direction),
        to_label=_to_label(window, model.seed),
        labelling=name_env("scones review import FILE", env),
    )


def _describing_test(verdict: WindowVerdict, window: PhotoWindow, model: RegisteredModel) -> WindowVerdict:
    """Describe what changed in a window that is too small for a verdict of its own."""
    if len(window) < MIN_PHOTOS or len(model.baseline.values) < MIN_BASELINE:
        return verdict
    found = window_test(model.baseline, window.features, false_alarm_rate=_DESCRIPTION_RATE, seed=model.seed)
    return replace(found, alarm=False, enough=False)


def _accuracy(cause: ProbableCause, estimate: AccuracyEstimate | None) -> AccuracyEstimate | None:
    """Drop or distrust an estimate that the cause invalidates."""
    if estimate is None or cause.cause is Cause.MODEL:
        return None
    if cause.cause is Cause.UNFAMILIAR:
        return replace(estimate, trusted=False, why="a photo of something else has no correct class")
    return estimate


def _headline(
    cause: ProbableCause, changes: tuple[FeatureChange, ...], classes: tuple[ClassChange, ...]
) -> tuple[str, ...]:
    if cause.cause is Cause.MODEL:
        return (cause.reason,)
    if cause.cause is Cause.MIX:
        name, before, now = max(classes, key=lambda change: abs(change[2] - change[1]))
        return (f"{name} {before:.0%} -> {now:.0%}",)
    if cause.cause is Cause.UNFAMILIAR:
        return tuple(_words_of_content(change) for change in changes if change.feature in {"ood_score", "content"})[:1]
    strong = [change for change in changes if change.times >= 1] or list(changes[:1])
    if cause.cause is Cause.QUALITY:
        strong = [change for change in strong if change.feature not in PREDICTION_FEATURES]
    return tuple(dict.fromkeys(change.word for change in strong))[:_MAX_WORDS]


def _words_of_content(change: FeatureChange) -> str:
    kind = "have a high OOD score" if change.feature == "ood_score" else "show what few photos of the baseline do"
    return f"{change.now} of the photos {kind}, {change.before} is usual"


def _severity(cause: ProbableCause, before: float, now: AccuracyEstimate | None) -> Severity:
    if cause.cause is Cause.MODEL:
        return Severity.CRITICAL if cause.certain else Severity.WARNING
    if now is None or not now.trusted:
        return Severity.WARNING
    if now.high < before and now.accuracy <= before - _CRITICAL_LOSS:
        return Severity.CRITICAL
    return Severity.NOTICE if now.accuracy >= before - _NO_LOSS else Severity.WARNING


def _window_check(window: PhotoWindow) -> PredictionCheck | None:
    """The prediction check of this window alone."""
    return None if window.expected is None else check_predictions(window.probabilities, window.expected)


def _when(run: RunResult, window: PhotoWindow, model: RegisteredModel, direction: ChangeDirection) -> AlarmTime:
    check = _window_check(window)
    last = window.first + len(window) - 1
    if check is not None and check.another_model:
        began = window.first + check.mismatches[0]
    elif run.stream_alarm is not None:
        began, last = run.stream_alarm.onset, run.stream_alarm.photo
    else:
        before, now = direction.along(model.baseline.values), direction.along(window.features)
        began = window.first + estimate_onset(before, now)
    return AlarmTime(last, _time(window, last), began, _time(window, began))


def _time(window: PhotoWindow, number: int) -> str:
    """The time of a photo; empty if it came before this window."""
    place = number - window.first
    return window.times[place] if 0 <= place < len(window) else ""


def _changes(verdict: WindowVerdict, window: PhotoWindow, model: RegisteredModel) -> tuple[FeatureChange, ...]:
    """Describe each change, the greatest first; of what the photos show, the direction that changed most."""
    content = [shift for shift in verdict.features if shift.name in CONTENT_FEATURES]
    return tuple(
        describe_shift(
            shift,
            model.baseline.values[:, FEATURES.index(shift.name)],
            window.features[:, FEATURES.index(shift.name)],
            threshold=verdict.threshold,
            classes=model.classes,
        )
        for shift in verdict.features
        if shift not in content[1:]
    )


def _odds(verdict: WindowVerdict, photos: int, per_thousand: float) -> FalseAlarmOdds:
    times = verdict.score / verdict.threshold if verdict.alarm else 0.0
    return FalseAlarmOdds(photos, times, 1 / verdict.chance, per_thousand)


def _examples(window: PhotoWindow, model: RegisteredModel, direction: ChangeDirection) -> tuple[ExamplePhoto, ...]:
    """The photos on which two models disagree, if they do; else those that changed most."""
    check = _window_check(window)
    if check is not None and check.another_model:
        return tuple(_example(window, model, place) for place in check.mismatches[:MAX_EXAMPLES])
    places = most_changed(direction.along(window.features), MAX_EXAMPLES)
    photos = model.baseline_photos()
    similar = nearest_baseline(model.baseline.values, window.features[places]) if photos else ()
    names = [photos[place] for place in similar] or [""] * len(places)
    return tuple(
        replace(_example(window, model, int(place)), expected="", similar_to=name)
        for place, name in zip(places, names, strict=True)
    )


def _example(window: PhotoWindow, model: RegisteredModel, place: int) -> ExamplePhoto:
    probabilities = window.probabilities[place]
    return ExamplePhoto(
        png=png(window.photos[place]),
        event=window.events[place],
        time=window.times[place],
        prediction=model.classes[int(probabilities.argmax())],
        confidence=float(probabilities.max()),
        unusual=describe_photo(window.features[place], model.baseline.values, model.classes),
        expected="" if window.expected is None else _prediction(window.expected[place], model.classes),
    )


def _prediction(probabilities: Floats, classes: tuple[str, ...]) -> str:
    return f"{classes[int(probabilities.argmax())]} {probabilities.max():.0%}"


def _to_label(window: PhotoWindow, seed: int) -> tuple[PhotoToLabel, ...]:
    sample = choose_photos(window.probabilities.max(axis=1), PHOTOS_TO_LABEL, seed)
    return tuple(
        PhotoToLabel(window.events[place], window.times[place], png(window.photos[place]), chance)
        for place, chance in zip(sample.photos.tolist(), sample.chances.tolist(), strict=True)
    )
