"""Calibration: one temperature that makes confidence mean what it says; pure."""

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
    chosen = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(chosen, np.finfo(np.float64).tiny)).mean())
