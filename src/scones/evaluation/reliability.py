"""Reliability: whether a confidence of 90% means that nine of ten are right."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scones.evaluation.metrics import Interval, wilson

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
        interval=wilson(int(right.sum()), len(right)),
    )
