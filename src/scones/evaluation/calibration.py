"""Calibration: whether confidence matches accuracy; and selective prediction: accuracy by coverage."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scones.domain.statistics import Interval, wilson_interval

_BINS = 15
_CHANCE_ROUNDS = 500
_MAX_POINTS = 200

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def calibration_error(right: Flags, confidence: Floats) -> float:
    """The expected calibration error over 15 equal bins of confidence, weighted by their photos."""
    bins = np.minimum((confidence * _BINS).astype(np.intp), _BINS - 1)
    gap = np.bincount(bins, weights=right.astype(np.float64) - confidence, minlength=_BINS)
    return float(np.abs(gap).sum() / len(right))


def error_by_chance(confidence: Floats, seed: int) -> float:
    """The calibration error that a perfectly calibrated model would show by chance, on average, at these confidences.

    At typical confidences that is about .035 on 200 photos and .019 on 800: a smaller error is no evidence against a
    model.
    """
    rng = np.random.default_rng(seed)
    drawn = (calibration_error(rng.random(len(confidence)) < confidence, confidence) for _ in range(_CHANCE_ROUNDS))
    return float(np.mean(list(drawn)))


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The photos in one bin of confidence: their mean confidence and their accuracy."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float
    interval: Interval


def reliability_bins(right: Flags, confidence: Floats) -> tuple[ReliabilityBin, ...]:
    """Put the predictions into 15 equal bins of confidence, those of the calibration error, without empty bins."""
    places = np.minimum((confidence * _BINS).astype(np.intp), _BINS - 1)
    return tuple(_bin(int(place), right[places == place], confidence[places == place]) for place in np.unique(places))


def undo_temperature(probabilities: NDArray[np.floating], temperature: float) -> Floats:
    """Undo temperature scaling: the probabilities of the same model without it, [N, C].

    Scaling divides log-probabilities by the temperature, so its inverse multiplies them by it.
    """
    logs = temperature * np.log(np.maximum(np.asarray(probabilities, np.float64), np.finfo(np.float64).tiny))
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _bin(place: int, right: Flags, confidence: Floats) -> ReliabilityBin:
    return ReliabilityBin(
        low=place / _BINS,
        high=(place + 1) / _BINS,
        n=len(right),
        confidence=float(confidence.mean()),
        accuracy=float(right.mean()),
        interval=wilson_interval(int(right.sum()), len(right)),
    )


@dataclass(frozen=True, slots=True)
class RiskCoveragePoint:
    """Accepting all predictions at or above *threshold*: their share, and the share of wrong ones among them."""

    threshold: float
    coverage: float
    risk: float


def risk_coverage(right: Flags, confidence: Floats) -> tuple[RiskCoveragePoint, ...]:
    """The risk-coverage curve, strictest first; photos of one confidence are accepted together.

    Source: R. El-Yaniv and Y. Wiener, "On the foundations of noise-free selective classification", 2010.
    """
    order = np.argsort(-confidence, kind="stable")
    last = np.append(np.diff(confidence[order]) != 0, True)
    accepted = np.flatnonzero(last) + 1
    wrong = np.cumsum(~right[order])[last]
    return tuple(
        RiskCoveragePoint(float(confidence[order][n - 1]), float(n / len(right)), float(k / n))
        for n, k in zip(accepted, wrong, strict=True)
    )


def accuracy_at(coverage: float, curve: tuple[RiskCoveragePoint, ...]) -> float:
    """The accuracy among the most confident predictions that make up at least this share of all (0 to 1)."""
    # A share such as 0.9 of 10 photos must not fail by a rounding error.
    return 1 - next(point.risk for point in curve if point.coverage >= coverage - 1e-9)


def thin_curve(curve: tuple[RiskCoveragePoint, ...]) -> tuple[RiskCoveragePoint, ...]:
    """At most 200 points, the first and last among them: a chart shows no more."""
    if len(curve) <= _MAX_POINTS:
        return curve
    places = np.linspace(0, len(curve) - 1, _MAX_POINTS).round().astype(int)
    return tuple(curve[place] for place in places)
