"""One monitoring run: measure and test the photos since the last run, in memory that does not grow."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from scones.monitoring.alerts.alert import Alert, Evidence, Known, PhotoWindow, make_alert
from scones.monitoring.alerts.notices import ActiveAlarm
from scones.monitoring.capture.records import IGNORED, CapturedPhoto, RefusalReason
from scones.monitoring.drift.baseline import Baseline
from scones.monitoring.drift.features import Photos, clip_ood_score, measure_features
from scones.monitoring.drift.normal_scores import MIN_PHOTOS, Floats
from scones.monitoring.drift.stream_detector import InvalidStreamState, StreamAlarm, StreamDetector, StreamState
from scones.monitoring.drift.stream_statistics import calibrate_stream
from scones.monitoring.drift.traffic import MAX_PHOTOS_KEPT, RecordedTraffic
from scones.monitoring.drift.window_test import MIN_BASELINE, FalseAlarmBudget, WindowVerdict, window_test
from scones.monitoring.history import HistoryPoint, history_point
from scones.monitoring.model_monitor import FeatureSummary
from scones.monitoring.performance.accuracy_estimate import AccuracyEstimate, AccuracyEstimator
from scones.monitoring.performance.prediction_check import (
    MIN_MISMATCHES,
    PredictionCheck,
    ProbeResult,
    check_predictions,
)

WINDOW_PHOTOS = 500
"""So many photos at most are judged together, and kept in memory."""
_BATCH = 64
_MAX_POINTS = 200
_MAX_WINDOWS = MAX_PHOTOS_KEPT // WINDOW_PHOTOS
_NOTHING = WindowVerdict(False, False, 0, 0.0, 0.0, ())

Ask = Callable[[Photos], tuple[NDArray[np.float32], NDArray[np.float32] | None]]
"""The registered model: photos [n, side, side, 3] give probabilities [n, C], and unfamiliarity [n] if it has that."""


@dataclass(frozen=True, slots=True)
class Registered:
    """What the traffic is held against: the model deployed last, its baseline, and how often an alarm may be false."""

    baseline: Baseline
    ask: Ask
    budget: FalseAlarmBudget
    seed: int
    classes: tuple[str, ...] = ()
    model: str = ""
    """The model's version."""

    def watch(self) -> StreamDetector:
        """The stream detector; training has calibrated it, unless the baseline was made by hand."""
        values = self.baseline.values
        calibration = self.baseline.calibration or calibrate_stream(values, seed=self.seed)
        return StreamDetector.of(values, calibration.line(self.budget.of_stream()))


@dataclass(frozen=True, slots=True)
class Looked:
    """What one look found: the first verdict that is an alarm, else the newest; and the window that it is about."""

    photos: int
    verdict: WindowVerdict
    batch: PhotoWindow | None
    """The window; None if there were no photos."""
    summary: FeatureSummary
    replayed: PredictionCheck
    """How all captured answers compare with the registered model's."""
    stream: StreamState
    """What the stream detector carries to the next look."""
    evidence: float
    """The stream's highest statistic after the last photo, in alarm lines; 0 while there are too few photos."""
    rung: StreamAlarm | None
    """Its alarm, if that rang at this look, by the number of photo, the first ever seen being 1."""
    accuracy: AccuracyEstimate | None
    """Estimated for the window; None where there is nothing to learn it from, or another model answers."""
    points: tuple[HistoryPoint, ...]
    """Every window in short; of very many, some."""
    measured: RecordedTraffic | None
    """What is kept of each photo, of very many of the newest; None if there were none."""


@dataclass(frozen=True, slots=True)
class _Window:
    """A window that was judged; *rang* says whether there is something to tell of it."""

    verdict: WindowVerdict
    batch: PhotoWindow
    accuracy: AccuracyEstimate | None
    rang: bool


class Look:
    """Takes the photos one by one; the stream detector sees each, and the window check some hundreds at a time."""

    def __init__(self, registered: Registered, stream: str = "") -> None:
        self.photos = 0
        self._registered = registered
        self._watch = registered.watch()
        self._before = self._stream = _resume(self._watch, stream)
        self._summary = FeatureSummary(registered.baseline.values)
        self._seen: list[CapturedPhoto] = []
        self._judged: _Window | None = None
        self._replayed = PredictionCheck(photos=0, mismatches=(), largest=0.0, found_after=None)
        self._points = ThinnedHistory()
        self._measured: deque[RecordedTraffic] = deque(maxlen=_MAX_WINDOWS)

    def add(self, seen: CapturedPhoto) -> None:
        """Take one photo."""
        self.photos += 1
        self._seen.append(seen)
        if len(self._seen) == WINDOW_PHOTOS:
            self._judge()

    def finish(self) -> Looked:
        """Judge what is left, and give the result."""
        if self._seen:
            self._judge()
        judged = self._judged
        return Looked(
            photos=self.photos,
            verdict=judged.verdict if judged else _NOTHING,
            batch=judged.batch if judged else None,
            summary=self._summary,
            replayed=self._replayed,
            stream=self._stream,
            evidence=self._stream.score / self._watch.line.height,
            rung=self._stream.alarm if self._before.alarm is None else None,
            accuracy=judged.accuracy if judged else None,
            points=tuple(self._points.kept),
            measured=RecordedTraffic.join(self._measured) if self._measured else None,
        )

    def _judge(self) -> None:
        standing = self._stream.alarm is not None or self._replayed.another_model
        batch = self._measure()
        verdict = self._verdict(batch)
        rang = verdict.alarm or (not standing and (self._stream.alarm is not None or self._replayed.another_model))
        accuracy = self._estimate(batch)
        window = _Window(verdict, batch, accuracy, rang)
        evidence = max(self._stream.score / self._watch.line.height, verdict.score / (verdict.threshold or 1))
        self._points.add(history_point(batch, verdict, self._registered.classes, evidence=evidence, accuracy=accuracy))
        # What rang first is told; a rest of a few photos is not worth more than the window before it.
        if self._judged is None or (not self._judged.rang and (rang or len(batch) >= MIN_PHOTOS)):
            self._judged = window

    def _verdict(self, batch: PhotoWindow) -> WindowVerdict:
        budget = self._registered.budget
        if len(batch) < budget.smallest_window():
            return replace(_NOTHING, photos=len(batch))
        rate = budget.of_window(len(batch))
        return window_test(self._registered.baseline, batch.values, false_alarm_rate=rate, seed=self._registered.seed)

    def _measure(self) -> PhotoWindow:
        seen, self._seen = self._seen, []
        photos = np.stack([each.photo for each in seen])
        captured = np.array([each.probabilities for each in seen])
        parts = [
            self._ask(photos[start : start + _BATCH], captured[start : start + _BATCH])
            for start in range(0, len(seen), _BATCH)
        ]
        values, replayed = (np.concatenate(tables) for tables in zip(*parts, strict=True))
        first = self._stream.photos + 1
        self._summary.add(values)
        self._stream = self._watch.look(self._stream, values)
        times, events = tuple(each.time for each in seen), tuple(each.event_id for each in seen)
        hashes = tuple(each.sha256 for each in seen)
        self._measured.append(RecordedTraffic(self._registered.model, events, times, hashes, captured, values))
        return PhotoWindow(photos, values, captured, times, events, first, replayed)

    def _ask(self, photos: Photos, captured: Floats) -> tuple[Floats, Floats]:
        """Measure some photos, with the help of the registered model, and compare its answers, which come second."""
        replayed, unfamiliarity = self._registered.ask(photos)
        answers = replayed.astype(np.float64)
        self._replayed = _add_check(self._replayed, check_predictions(captured, answers))
        familiar = self._registered.baseline.familiar
        strange = None if unfamiliarity is None else clip_ood_score(unfamiliarity, familiar)
        return measure_features(photos, captured, strange), answers

    @cached_property
    def _estimator(self) -> AccuracyEstimator | None:
        # Learnt when there is a photo to estimate: most looks of a quiet night see none.
        lesson = self._registered.baseline.lesson
        return None if lesson is None else AccuracyEstimator.learn(lesson, self._registered.seed)

    def _estimate(self, batch: PhotoWindow) -> AccuracyEstimate | None:
        if self._replayed.another_model or self._estimator is None:
            return None
        return self._estimator.estimate(batch.values, batch.probabilities)


class ThinnedHistory:
    """Keeps an even choice of any number of points, so that a look at very many photos leaves a small history."""

    def __init__(self) -> None:
        self.kept: list[HistoryPoint] = []
        self._seen, self._every = 0, 1

    def add(self, new: HistoryPoint) -> None:
        """Keep it, if it is one of those chosen."""
        if self._seen % self._every == 0:
            self.kept.append(new)
        self._seen += 1
        if len(self.kept) > _MAX_POINTS:
            self._every *= 2
            del self.kept[1::2]


def acknowledged(stream: str, registered: Registered) -> str:
    """Let the stream detector start anew, so that it may ring again."""
    watch = registered.watch()
    return watch.acknowledge(_resume(watch, stream)).to_json()


def _resume(watch: StreamDetector, stream: str) -> StreamState:
    """Go on where the last look stopped; against another baseline, or another version's, begin anew."""
    try:
        return watch.resume(stream) if stream else watch.begin()
    except InvalidStreamState:
        return watch.begin()


def _add_check(before: PredictionCheck, now: PredictionCheck) -> PredictionCheck:
    """Add the comparison of the photos that followed; enough mismatches may come from several batches together."""
    mismatches = (*before.mismatches, *(before.photos + index for index in now.mismatches))
    certain = len(mismatches) >= MIN_MISMATCHES
    return replace(
        before,
        photos=before.photos + now.photos,
        mismatches=mismatches,
        largest=max(before.largest, now.largest),
        found_after=mismatches[MIN_MISMATCHES - 1] + 1 if certain else None,
    )


_DESCRIPTION_RATE = 0.05
"""The rate of the check that only says what moved, where the stream's detector rang and no check of the window did."""


def alert_of(looked: Looked, known: Known, registered: Registered) -> Alert | None:
    """Make the alert, if the window's check, the stream's detector or the replay rang."""
    batch, verdict = looked.batch, looked.verdict
    rang = verdict.alarm or looked.rung is not None or looked.replayed.another_model
    if batch is None or not rang:
        return None
    evidence = Evidence(
        known=known,
        batch=batch,
        verdict=verdict if verdict.enough else _describe(looked, registered),
        per_thousand=registered.budget.per_thousand,
        alarm=looked.rung,
        replay=looked.replayed,
        estimate=looked.accuracy,
    )
    return make_alert(evidence, registered.seed)


def _describe(looked: Looked, registered: Registered) -> WindowVerdict:
    """Say what moved in a window that is too small for a verdict of its own."""
    batch, baseline = looked.batch, registered.baseline
    if batch is None or len(batch) < MIN_PHOTOS or len(baseline.values) < MIN_BASELINE:
        return looked.verdict
    found = window_test(baseline, batch.values, false_alarm_rate=_DESCRIPTION_RATE, seed=registered.seed)
    return replace(found, alarm=False, enough=False)


@dataclass(frozen=True, slots=True)
class MonitoringFigures:
    """What one look came to."""

    looked: Looked
    refused: Mapping[RefusalReason, int]
    canaries: Sequence[ProbeResult]
    alarms: Sequence[ActiveAlarm]
    """Those that stand after it."""


def figures(outcome: MonitoringFigures) -> dict[str, float]:
    """The value of each metric; evidence counts in alarm lines, of the stream's detector or the window's check.

    Nothing is said of the channels without a verdict, nor of the accuracy where its estimate is not trusted.
    """
    looked = outcome.looked
    verdict, accuracy = looked.verdict, looked.accuracy
    found = {
        "images_seen": float(looked.photos),
        "records_refused": float(sum(count for reason, count in outcome.refused.items() if reason not in IGNORED)),
        "replay_mismatch": float(len(looked.replayed.mismatches)),
        "drift_alarm": float(any(alarm.kind == "drift" for alarm in outcome.alarms)),
        "drift_evidence": max(looked.evidence, verdict.score / verdict.threshold if verdict.enough else 0.0),
        "canary_failures": float(sum(not canary.right for canary in outcome.canaries)),
    }
    if verdict.enough:
        found |= {f"feature_baseline_drift_{shift.name}": shift.score / verdict.threshold for shift in verdict.channels}
    if accuracy and accuracy.trusted:
        found["accuracy_estimate"] = accuracy.accuracy
    return found
