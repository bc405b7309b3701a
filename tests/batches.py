"""Batches of made-up photos whose channels are drawn from normal distributions, and shifts of them."""

from dataclasses import replace

import numpy as np

from scones.monitoring.alerts.alert import Evidence, Known, PhotoWindow
from scones.monitoring.drift.baseline import Baseline
from scones.monitoring.drift.features import FEATURES
from scones.monitoring.drift.normal_scores import Floats
from scones.monitoring.drift.window_test import window_test

CLASSES = ("bicycle", "motorcycle")
PHOTOS = 100


def baseline(seed: int = 0) -> Floats:
    """300 photos whose channels are independent, in about their usual units."""
    return _values(300, np.random.default_rng(seed))


def known(names: bool = True) -> Known:
    """What training left of them."""
    values = baseline()
    files = tuple(f"bicycle/{number}.png" for number in range(len(values))) if names else ()
    return Known("scones-test", CLASSES, values, files, 0.88, (0.5, 0.5))


def batch(seed: int = 1, **moved: float) -> PhotoWindow:
    """A hundred photos, the channels that are named moved by so many of their deviations."""
    rng = np.random.default_rng(seed)
    values = _values(PHOTOS, rng)
    for name, deviations in moved.items():
        values[:, FEATURES.index(name)] += deviations * _SPREADS[FEATURES.index(name)]
    second = 1 / (1 + np.exp(-values[:, 0]))
    return PhotoWindow(
        photos=rng.integers(0, 255, (PHOTOS, 8, 8, 3), np.uint8),
        values=values,
        probabilities=np.column_stack([1 - second, second]),
        times=tuple(f"2026-11-23T03:{number // 60:02}:{number % 60:02}Z" for number in range(PHOTOS)),
        events=tuple(f"event-{number}" for number in range(PHOTOS)),
        first=1001,
    )


def swapped(photos: PhotoWindow, first: int = 30) -> PhotoWindow:
    """The same, but from photo *first* on another model answers, with the classes swapped."""
    captured = photos.probabilities.copy()
    captured[first:] = captured[first:, ::-1]
    return replace(photos, probabilities=captured, replayed=photos.probabilities)


def evidence(photos: PhotoWindow, names: bool = True) -> Evidence:
    """What a look finds out about a batch."""
    verdict = window_test(Baseline(baseline()), photos.values, false_alarm_rate=0.01)
    return Evidence(known(names), photos, verdict, per_thousand=0.1)


_MIDDLES = np.array([0.0, 3.0, 120, 50, 7, 3, 5, 0.05, 3, 10, 0, 0.1, 0])
_SPREADS = np.array([2.0, 1.5, 25, 12, 0.7, 0.5, 15, 0.02, 0.6, 25, 15, 0.2, 1])


def _values(count: int, rng: np.random.Generator) -> Floats:
    return np.asarray(_MIDDLES + _SPREADS * rng.normal(size=(count, len(FEATURES))))
