"""What others would say of the same windows: each gives one number a window, and the false alarms of its defaults.

Model Monitor's distances are those of Deequ, on which it is built (`Distance.scala`), at its documented threshold;
Evidently's are the documented defaults of its 0.7: Kolmogorov-Smirnov at .05 on each numerical column of up to 1,000
rows, drift where half of the columns drift.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
_LIMIT = 0.1
_HALF = 0.5
_LEVEL = 0.05
_AUC = 0.55
_CORRECTION = 1.8


def distances(before: Floats, now: Floats) -> Floats:
    """Give Kolmogorov-Smirnov's distance in each column."""
    return np.array([stats.ks_2samp(a, b, method="asymp").statistic for a, b in zip(before.T, now.T, strict=True)])


def shares(before: Floats, now: Floats) -> Floats:
    """Give Kolmogorov-Smirnov's probability in each column."""
    return np.array([stats.ks_2samp(a, b, method="asymp").pvalue for a, b in zip(before.T, now.T, strict=True)])


def mmd(before: Floats, now: Floats) -> float:
    """Maximum mean discrepancy with a Gaussian kernel of the median width, unbiased."""
    both = _scaled(before, np.concatenate([before, now]))
    squares = ((both[:, None] - both) ** 2).sum(axis=2)
    kernel = np.exp(-squares / np.median(squares[squares > 0]))
    np.fill_diagonal(kernel, 0)
    n, m = len(before), len(now)
    inner, outer, between = kernel[:n, :n].sum(), kernel[n:, n:].sum(), kernel[:n, n:].mean()
    return float(inner / (n * (n - 1)) + outer / (m * (m - 1)) - 2 * between)


def classifier(before: Floats, now: Floats) -> float:
    """Area under ROC of a linear discriminant between the two, each half judged by the other."""
    before, now = _scaled(before, before), _scaled(before, now)
    found = []
    for one, other in ((0, 1), (1, 0)):
        a, b, c, d = before[one::2], now[one::2], before[other::2], now[other::2]
        spread = np.cov(np.concatenate([a - a.mean(axis=0), b - b.mean(axis=0)]).T)
        spread += 0.2 * np.trace(spread) / len(spread) * np.eye(len(spread))
        direction = np.linalg.solve(spread, b.mean(axis=0) - a.mean(axis=0))
        wins = stats.mannwhitneyu(d @ direction, c @ direction).statistic
        found.append(wins / (len(c) * len(d)))
    return float(np.mean(found))


SCORES: Mapping[str, Callable[[Floats, Floats], float]] = {
    "KS on the probability": lambda before, now: float(distances(before[:, :1], now[:, :1])[0]),
    "KS, the most changed feature": lambda before, now: float(distances(before, now).max()),
    "MMD on the features": mmd,
    "classifier test on the features": classifier,
}
"""Peers that are given a fair threshold: larger means more drift."""

DEFAULTS: Mapping[str, Callable[[Floats, Floats], bool]] = {
    "Evidently: half of the columns drift": lambda before, now: bool((shares(before, now) < _LEVEL).mean() >= _HALF),
    "Evidently: any column drifts": lambda before, now: bool((shares(before, now) < _LEVEL).any()),
    "Evidently: the prediction drifts": lambda before, now: bool(shares(before[:, :1], now[:, :1])[0] < _LEVEL),
    "Model Monitor, Simple, any feature": lambda before, now: bool((distances(before, now) > _LIMIT).any()),
    "Model Monitor, Simple, the probability": lambda before, now: bool(distances(before, now)[0] > _LIMIT),
    "Model Monitor, Robust, any feature": lambda before, now: bool((_robust(before, now) > _LIMIT).any()),
    "classifier test, area over .55": lambda before, now: classifier(before, now) > _AUC,
}
"""Peers as they come: their own rule of when to fire."""


def _robust(before: Floats, now: Floats) -> Floats:
    n, m = len(before), len(now)
    return np.asarray(distances(before, now) - _CORRECTION * np.sqrt((n + m) / (n * m)))


def _scaled(by: Floats, values: Floats) -> Floats:
    return np.asarray((values - by.mean(axis=0)) / (by.std(axis=0) + 1e-9))
