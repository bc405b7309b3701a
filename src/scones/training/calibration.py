"""Calibration: the temperature of the confidence, and the limit of the out-of-distribution score."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

MIN_TEMPERATURE: Final = 0.25
"""Photos that the model never gets wrong would ask for 0, that is for certainty."""
MAX_TEMPERATURE: Final = 4.0
"""A model that knows nothing would ask for infinity."""


def fit_temperature(log_probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]) -> float:
    """Find the temperature that gives the *labels* [N] the highest likelihood.

    *log_probabilities* [N, C] must be out of fold: of photos that the model did not learn from.
    Method: C. Guo et al., "On calibration of modern neural networks", 2017.
    """

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(soften(log_probabilities, float(np.exp(log_temperature))), labels)

    bounds = (np.log(MIN_TEMPERATURE), np.log(MAX_TEMPERATURE))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def soften(log_probabilities: npt.NDArray[np.floating], temperature: float) -> npt.NDArray[np.float64]:
    """Turn log-probabilities [N, C], which need not be normalised, into probabilities at this temperature."""
    scaled = np.asarray(log_probabilities, dtype=np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def negative_log_likelihood(probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]) -> float:
    """Give the mean negative logarithm of the probability that each photo's true class was given."""
    return float(log_losses(probabilities, labels).mean())


def log_losses(probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Give the negative logarithm of the probability that each photo's true class was given, [N]."""
    chosen = np.asarray(probabilities[np.arange(len(labels)), labels], dtype=np.float64)
    return np.asarray(-np.log(np.maximum(chosen, np.finfo(np.float64).tiny)))


REFUSED_SHARE: Final = 0.02
"""Of photos of the classes, no more than this share is to be refused."""
NEIGHBOURS: Final = 5
"""The distance from the training photos is the mean cosine distance from this many of the nearest."""
DISTANCE_SHARE: Final = 0.25
"""What the distance counts beside a learnt logit: more refuses fewer other things, none lets some noise pass."""
REFERENCE_PHOTOS: Final = 1000
"""Of larger training sets a spread sample is remembered: each photo costs five kilobytes in the model."""


@dataclass(frozen=True, slots=True)
class OodDetector:
    """`unfamiliarity = offset + strangeness @ weights`; a photo with more than *refused_above* is of no class."""

    weights: tuple[float, float]
    offset: float
    refused_above: float

    def score(self, strangeness: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Turn the two measures, [N, 2], into unfamiliarity, float64 [N]."""
        scores = np.asarray(strangeness, dtype=np.float64) @ np.array(self.weights)
        return np.asarray(self.offset + scores)


def fit_ood_detector(strangeness: npt.NDArray[np.floating], *, learnt: bool) -> OodDetector:
    """Fit the OOD detector to the measures, [N, 2], of photos of the classes, out of fold.

    Without photos of other things (*learnt* is False) the logit has learnt little, and the distance decides alone.
    """
    known = np.asarray(strangeness, dtype=np.float64)
    spread = np.maximum(known.std(axis=0), 1e-6)
    shares = np.array([1.0, DISTANCE_SHARE]) if learnt else np.array([0.0, 1.0])
    weights = shares / spread
    ood_detector = OodDetector(
        (float(weights[0]), float(weights[1])), float(-(known.mean(axis=0) * weights).sum()), 0.0
    )
    return OodDetector(ood_detector.weights, ood_detector.offset, _upper_bound(ood_detector.score(known)))


def spread_sample(photos: int) -> slice:
    """Choose at most `REFERENCE_PHOTOS` of so many, evenly, since photos come sorted by class."""
    return slice(None, None, -(-photos // REFERENCE_PHOTOS) or 1)


def _upper_bound(scores: npt.NDArray[np.float64]) -> float:
    """The smallest of *scores* that a new photo of the same kind exceeds with probability `REFUSED_SHARE` at most.

    The (n + 1) in place of n is the correction of conformal prediction for a finite sample.
    """
    rank = min(len(scores), int(np.ceil((1 - REFUSED_SHARE) * (len(scores) + 1))))
    return float(np.sort(scores)[rank - 1])
