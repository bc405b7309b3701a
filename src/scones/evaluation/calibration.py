"""Calibration: whether confidence matches accuracy, and accuracy over coverage (selective prediction)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scones.domain.statistics import Interval, wilson_interval

_BINS = 15

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Bin:
    """Photos of about one confidence: how sure the model was of them on average, and how many were right."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float
    interval: Interval


def reliability(right: Flags, confidence: Floats) -> tuple[Bin, ...]:
    """Put the answers into 15 equal bins of confidence, those of the calibration error; empty bins are left out."""
    places = np.minimum((confidence * _BINS).astype(np.intp), _BINS - 1)
    return tuple(_bin(int(place), right[places == place], confidence[places == place]) for place in np.unique(places))


def before_temperature(probabilities: NDArray[np.floating], temperature: float) -> Floats:
    """Undo a temperature: what the same model would have said without it, [N, C].

    Scaling divides log-probabilities by the temperature, so its inverse multiplies them by it.
    """
    logs = temperature * np.log(np.maximum(np.asarray(probabilities, np.float64), np.finfo(np.float64).tiny))
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _bin(place: int, right: Flags, confidence: Floats) -> Bin:
    return Bin(
        low=place / _BINS,
        high=(place + 1) / _BINS,
        n=len(right),
        confidence=float(confidence.mean()),
        accuracy=float(right.mean()),
        interval=wilson_interval(int(right.sum()), len(right)),
    )


_MOST_POINTS = 200


@dataclass(frozen=True, slots=True)
class Point:
    """Accepting all answers at or above *threshold*: the share that is, and the share of those that is wrong."""

    threshold: float
    coverage: float
    risk: float


def risk_coverage(right: Flags, confidence: Floats) -> tuple[Point, ...]:
    """The risk-coverage curve, strictest first; photos of one confidence are accepted together.

    Source: R. El-Yaniv and Y. Wiener, "On the foundations of noise-free selective classification", 2010.
    """
    order = np.argsort(-confidence, kind="stable")
    last = np.append(np.diff(confidence[order]) != 0, True)
    accepted = np.flatnonzero(last) + 1
    wrong = np.cumsum(~right[order])[last]
    return tuple(
        Point(float(confidence[order][n - 1]), float(n / len(right)), float(k / n))
        for n, k in zip(accepted, wrong, strict=True)
    )


def accuracy_at(coverage: float, curve: tuple[Point, ...]) -> float:
    """The accuracy among the surest photos that make up at least this share of all (0 to 1)."""
    # A share such as 0.9 of 10 photos must not fail by a rounding error.
    return 1 - next(point.risk for point in curve if point.coverage >= coverage - 1e-9)


def thinned(curve: tuple[Point, ...]) -> tuple[Point, ...]:
    """At most 200 points, the first and last among them: more than that no chart can show."""
    if len(curve) <= _MOST_POINTS:
        return curve
    places = np.linspace(0, len(curve) - 1, _MOST_POINTS).round().astype(int)
    return tuple(curve[place] for place in places)
