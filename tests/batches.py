"""Batches of made-up photos whose features are drawn from normal distributions, and shifts of them."""

from dataclasses import replace

import numpy as np

from scones.monitoring.alerts.alert import Alert, make_alert
from scones.monitoring.drift.baseline import Baseline
from scones.monitoring.drift.features import FEATURES, FeatureSummary, Floats, Photos
from scones.monitoring.drift.stream_detector import StreamDetector
from scones.monitoring.drift.stream_statistics import calibrate_stream
from scones.monitoring.drift.traffic import PhotoWindow
from scones.monitoring.drift.window_test import FalseAlarmBudget, window_test
from scones.monitoring.performance.registered_model import PredictionCheck, RegisteredModel, check_predictions
from scones.monitoring.run import RunResult

CLASSES = ("bicycle", "motorcycle")
PHOTOS = 100


def baseline(seed: int = 0) -> Floats:
    """300 photos whose features are independent, in about their usual units."""
    return _values(300, np.random.default_rng(seed))


def registered(names: bool = True, per_thousand: float = 0.1) -> RegisteredModel:
    """A model that was trained on them; every photo gets the same prediction from it."""
    values = baseline()
    return RegisteredModel(
        version="v1",
        classes=CLASSES,
        baseline=Baseline(values),
        predict=_even,
        accuracy=0.88,
        class_mix=(0.5, 0.5),
        training_photos=tuple(f"bicycle/{number}.png" for number in range(len(values))) if names else (),
        budget=FalseAlarmBudget(per_thousand),
    )


def _even(photos: Photos) -> tuple[np.ndarray, None, None]:
    return np.full((len(photos), 2), 0.5, np.float32), None, None


def batch(seed: int = 1, **moved: float) -> PhotoWindow:
    """A hundred photos, the features that are named moved by so many of their deviations."""
    rng = np.random.default_rng(seed)
    values = _values(PHOTOS, rng)
    for name, deviations in moved.items():
        values[:, FEATURES.index(name)] += deviations * _SPREADS[FEATURES.index(name)]
    second = 1 / (1 + np.exp(-values[:, 0]))
    return PhotoWindow(
        photos=rng.integers(0, 255, (PHOTOS, 8, 8, 3), np.uint8),
        features=values,
        probabilities=np.column_stack([1 - second, second]),
        times=tuple(f"2026-11-23T03:{number // 60:02}:{number % 60:02}Z" for number in range(PHOTOS)),
        events=tuple(f"event-{number}" for number in range(PHOTOS)),
        first=1001,
    )


def swapped(photos: PhotoWindow, first: int = 30) -> PhotoWindow:
    """The same, but from photo *first* on another model predicts, with the classes swapped."""
    captured = photos.probabilities.copy()
    captured[first:] = captured[first:, ::-1]
    return replace(photos, probabilities=captured, expected=photos.probabilities)


def run_of(photos: PhotoWindow) -> RunResult:
    """The result of a run of these photos alone."""
    values = baseline()
    check = PredictionCheck()
    if photos.expected is not None:
        check = check_predictions(photos.probabilities, photos.expected)
    stream = StreamDetector.of(values, calibrate_stream(values[:40], rounds=1).threshold(0.1)).initial_state()
    return RunResult(
        photos=len(photos),
        verdict=window_test(Baseline(values), photos.features, false_alarm_rate=0.01),
        window=photos,
        summary=FeatureSummary(values),
        check=check,
        stream=stream,
        stream_score=0.0,
        stream_alarm=None,
        accuracy=None,
        points=(),
        traffic=None,
    )


def alert_on(found: RunResult | PhotoWindow, names: bool = True) -> Alert:
    """The alert on a run, or on these photos."""
    run = found if isinstance(found, RunResult) else run_of(found)
    assert run.window is not None
    return make_alert(run, run.window, registered(names), "scones-test", "dev")


_MIDDLES = np.array([0.0, 3.0, 120, 50, 7, 3, 5, 0.05, 3, 10, 0, 0.1, 1, 0.8, 0, 0, 0, 0, 0])
_SPREADS = np.array([2.0, 1.5, 25, 12, 0.7, 0.5, 15, 0.02, 0.6, 25, 15, 0.2, 0.4, 0.1, 1, 1, 1, 1, 1])


def _values(count: int, rng: np.random.Generator) -> Floats:
    return np.asarray(_MIDDLES + _SPREADS * rng.normal(size=(count, len(FEATURES))))
