"""Normal scores: every feature on one scale, whatever its unit and distribution, by its rank in the baseline."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MIN_PHOTOS = 20
"""Fewer photos never give a verdict."""
_RIDGE = 0.02
_TINY = 1e-12


def rank_columns(values: Floats) -> Floats:
    """Rank each column of [n, k] from 1 to n; equal values share their mean rank."""
    ranks = np.empty(values.shape)
    for number, column in enumerate(values.T):
        _, place, counts = np.unique(column, return_inverse=True, return_counts=True)
        last = np.cumsum(counts)
        ranks[:, number] = (last - (counts - 1) / 2)[place]
    return ranks


def normal_quantiles(shares: Floats) -> Floats:
    """The standard normal quantile of each of *shares*, which lie between 0 and 1."""
    # Ranks take few different values, so the exact function, one number at a time, is quick enough.
    different, place = np.unique(shares, return_inverse=True)
    quantiles = np.array([NormalDist().inv_cdf(float(share)) for share in different])
    return np.asarray(quantiles[place].reshape(shares.shape))


def spreads(scores: Floats) -> Floats:
    """Standardised squares of normal scores, which show a change of spread."""
    return np.asarray((scores**2 - 1) / np.sqrt(2))


def products(scores: Floats) -> Floats:
    """Products [n, k - 1] of the first feature, the prediction, with each other one: how they correlate.

    Swapped labels or a badly trained model may leave every feature unchanged; they change the correlations.
    """
    return np.asarray(scores[:, 1:] * scores[:, :1])


def whitener(features: Floats) -> Floats:
    """A matrix that transforms the features to unit covariance; a ridge keeps constant features harmless."""
    covariance = np.atleast_2d(np.cov(features.T))
    ridge = _RIDGE * np.trace(covariance) / len(covariance) + _TINY
    covariance += ridge * np.eye(len(covariance))
    return np.asarray(np.linalg.inv(np.linalg.cholesky(covariance)).T)


@dataclass(frozen=True, slots=True)
class NormalScores:
    """Computes normal scores of photos against a baseline."""

    ordered: Floats
    """The baseline's features [n, k], each column sorted."""
    quantiles: Floats

    @classmethod
    def of(cls, values: Floats) -> "NormalScores":
        """Fit to the baseline's features, [n, k]."""
        count = len(values)
        return cls(np.sort(values, axis=0), normal_quantiles((np.arange(2 * count + 1) / 2 + 0.5) / (count + 1)))

    def score(self, values: Floats) -> Floats:
        """The normal scores [m, k] of photos [m, k]; a value beyond all of the baseline still has a finite score."""
        scores = np.empty(values.shape)
        for number, (column, ordered) in enumerate(zip(values.T, self.ordered.T, strict=True)):
            twice = np.searchsorted(ordered, column, "left") + np.searchsorted(ordered, column, "right")
            scores[:, number] = self.quantiles[twice]
        return scores
