"""A monitoring run: measures and tests photos as they stream by, in memory that does not grow."""

from collections import deque
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from scones.data.decode import resize
from scones.monitoring.capture.records import CapturedPhoto
from scones.monitoring.drift.features import (
    MIN_PHOTOS,
    FeatureSummary,
    Floats,
    Photos,
    clip_ood_score,
    measure_features,
)
from scones.monitoring.drift.stream_detector import InvalidStreamState, StreamAlarm, StreamDetector, StreamState
from scones.monitoring.drift.traffic import MAX_PHOTOS_KEPT, PhotoWindow, RecordedTraffic
from scones.monitoring.drift.window_test import WindowVerdict, window_test
from scones.monitoring.history import HistoryPoint, ThinnedHistory, history_point
from scones.monitoring.performance.accuracy_estimate import AccuracyEstimate, AccuracyEstimator
from scones.monitoring.performance.registered_model import PredictionCheck, RegisteredModel, check_predictions

WINDOW_PHOTOS = 500
"""The largest number of photos that are tested together, and kept in memory."""
_PREDICTED_TOGETHER = 64
_MAX_WINDOWS = MAX_PHOTOS_KEPT // WINDOW_PHOTOS
_NO_VERDICT = WindowVerdict(False, False, 0, 0.0, 0.0, ())


@dataclass(frozen=True, slots=True)
class RunResult:
    """The result of one run: the first verdict that fired, or else the newest, and the window that it is about."""

    photos: int
    verdict: WindowVerdict
    window: PhotoWindow | None
    """None if there were no photos."""
    summary: FeatureSummary
    check: PredictionCheck
    """All captured predictions against the registered model's."""
    stream: StreamState
    """The stream detector's state for the next run."""
    stream_score: float
    """The stream detector's drift score after the last photo, in units of its threshold; 0 with too few photos."""
    stream_alarm: StreamAlarm | None
    """Set if the stream detector fired in this run, by number of photo, the first photo ever being number 1."""
    accuracy: AccuracyEstimate | None
    """Estimated for the window; None without simulated damage, or if another model answers."""
    points: tuple[HistoryPoint, ...]
    """A summary of every window; of very many, some."""
    traffic: RecordedTraffic | None
    """What is kept of each photo, of very many of the newest; None if there were none."""

    @property
    def fired(self) -> bool:
        """Whether the window test, the stream detector or the prediction check fired."""
        return self.verdict.alarm or self.stream_alarm is not None or self.check.another_model


@dataclass(frozen=True, slots=True)
class _TestedWindow:
    verdict: WindowVerdict
    window: PhotoWindow
    accuracy: AccuracyEstimate | None
    fired: bool


class MonitoringRun:
    """Takes photos one by one: the stream detector sees each, and the window test some hundreds at a time.

    *stream* is the stream detector's state after the last run.
    """

    def __init__(self, model: RegisteredModel, stream: str = "") -> None:
        self.photos = 0
        self._model = model
        self._detector = model.stream_detector()
        self._before = self._stream = _resume(self._detector, stream)
        self._summary = FeatureSummary(model.baseline.values)
        self._pending: list[CapturedPhoto] = []
        self._tested: _TestedWindow | None = None
        self._check = PredictionCheck()
        self._history = ThinnedHistory()
        self._traffic: deque[RecordedTraffic] = deque(maxlen=_MAX_WINDOWS)

    def add(self, photo: CapturedPhoto) -> None:
        """Take one photo."""
        self.photos += 1
        self._pending.append(photo)
        if len(self._pending) == WINDOW_PHOTOS:
            self._test()

    def finish(self) -> RunResult:
        """Test the remaining photos, and return the result."""
        if self._pending:
            self._test()
        tested = self._tested
        return RunResult(
            photos=self.photos,
            verdict=tested.verdict if tested else _NO_VERDICT,
            window=tested.window if tested else None,
            summary=self._summary,
            check=self._check,
            stream=self._stream,
            stream_score=self._stream.score / self._detector.threshold.height,
            stream_alarm=self._stream.alarm if self._before.alarm is None else None,
            accuracy=tested.accuracy if tested else None,
            points=tuple(self._history.kept),
            traffic=RecordedTraffic.join(self._traffic) if self._traffic else None,
        )

    def _test(self) -> None:
        active = self._stream.alarm is not None or self._check.another_model
        window = self._measure()
        verdict = self._verdict(window)
        fired = verdict.alarm or (not active and (self._stream.alarm is not None or self._check.another_model))
        accuracy = self._estimate(window)
        score = max(self._stream.score / self._detector.threshold.height, verdict.score / (verdict.threshold or 1))
        self._history.add(history_point(window, verdict, self._model.classes, drift_score=score, accuracy=accuracy))
        # The first window that fired is reported; a small final window does not replace the previous result.
        if self._tested is None or (not self._tested.fired and (fired or len(window) >= MIN_PHOTOS)):
            self._tested = _TestedWindow(verdict, window, accuracy, fired)

    def _verdict(self, window: PhotoWindow) -> WindowVerdict:
        budget, photos = self._model.budget, len(window)
        if photos < budget.min_window():
            return replace(_NO_VERDICT, photos=photos)
        rate = budget.of_window(photos)
        return window_test(self._model.baseline, window.features, false_alarm_rate=rate, seed=self._model.seed)

    def _measure(self) -> PhotoWindow:
        pending, self._pending = self._pending, []
        photos = np.stack([each.photo for each in pending])
        captured = np.array([each.probabilities for each in pending])
        parts = [
            self._predict(photos[start : start + _PREDICTED_TOGETHER], captured[start : start + _PREDICTED_TOGETHER])
            for start in range(0, len(pending), _PREDICTED_TOGETHER)
        ]
        features, expected = (np.concatenate(tables) for tables in zip(*parts, strict=True))
        first = self._stream.photos + 1
        self._summary.add(features)
        self._stream = self._detector.update(self._stream, features)
        times, events = tuple(each.time for each in pending), tuple(each.event_id for each in pending)
        hashes = tuple(each.sha256 for each in pending)
        self._traffic.append(RecordedTraffic(self._model.version, events, times, hashes, captured, features))
        return PhotoWindow(photos, features, captured, times, events, first, expected)

    def _predict(self, photos: Photos, captured: Floats) -> tuple[Floats, Floats]:
        """Measure some photos; return their features, and the registered model's own probabilities."""
        if not self._model.known:
            return measure_features(photos, captured), captured
        probabilities, ood_score, seen = self._model.predict(photos)
        expected = probabilities.astype(np.float64)
        self._check = self._check.join(check_predictions(captured, expected))
        clipped = None if ood_score is None else clip_ood_score(ood_score, self._model.baseline.ood_lower)
        resized = resize(photos, self._model.photo_size or photos.shape[1])
        return measure_features(resized, captured, clipped, self._model.content(seen)), expected

    @cached_property
    def _estimator(self) -> AccuracyEstimator | None:
        # Trained when the first photo needs it: many runs at night have none.
        damage = self._model.baseline.simulated_damage
        return None if damage is None else AccuracyEstimator.fit(damage, self._model.seed)

    def _estimate(self, window: PhotoWindow) -> AccuracyEstimate | None:
        if self._check.another_model or self._estimator is None:
            return None
        return self._estimator.estimate(window.features, window.probabilities)


def acknowledge_stream(stream: str, model: RegisteredModel) -> str:
    """Restart the stream detector, so that it can fire again."""
    detector = model.stream_detector()
    return detector.acknowledge(_resume(detector, stream)).to_json()


def _resume(detector: StreamDetector, stream: str) -> StreamState:
    """Continue from the last run; with another baseline, or another version's state, start again."""
    try:
        return detector.resume(stream) if stream else detector.initial_state()
    except InvalidStreamState:
        return detector.initial_state()
