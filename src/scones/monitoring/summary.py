"""Summary: every channel's figures over any number of photos, in memory that does not grow with them."""

import numpy as np
from numpy.typing import NDArray

from scones.monitoring.channels import CHANNELS

BUCKETS = 10
"""As many as Model Monitor gives."""

Floats = NDArray[np.float64]


class Summary:
    """Mean, spread, extremes and a histogram of each channel.

    The histogram's bounds come from *baseline* [n, channels]; what lies beyond counts in the outermost buckets.
    """

    def __init__(self, baseline: Floats) -> None:
        # A channel that a model does not give is not a number in all of its baseline.
        known = np.where(np.isfinite(baseline), baseline, 0.0)
        low, high = known.min(axis=0), known.max(axis=0)
        self.edges: Floats = np.linspace(low, np.where(high > low, high, low + 1), BUCKETS + 1, axis=1)
        self.photos = 0
        self.channels = [Figures() for _ in CHANNELS]

    def add(self, values: Floats) -> None:
        """Count the measurements *values* [n, channels] in; what is not a number is missing."""
        self.photos += len(values)
        for figures, column, inner in zip(self.channels, values.T, self.edges[:, 1:-1], strict=True):
            figures.add(column[np.isfinite(column)], inner)


class Figures:
    """One channel's."""

    def __init__(self) -> None:
        self.present = 0
        self.mean = 0.0
        self.least, self.most = np.inf, -np.inf
        self.counts = np.zeros(BUCKETS, np.int64)
        self._squares = 0.0

    @property
    def deviation(self) -> float:
        """The standard deviation."""
        return float(np.sqrt(self._squares / max(1, self.present)))

    def add(self, values: Floats, inner: Floats) -> None:
        """Count *values* [n] in; *inner* are the bounds between the buckets."""
        if not len(values):
            return
        total = self.present + len(values)
        mean = float(values.mean())
        gap = mean - self.mean
        # Chan, Golub and LeVeque, 1979: sums of squares join without losing digits.
        self._squares += float(((values - mean) ** 2).sum()) + gap**2 * self.present * len(values) / total
        self.mean += gap * len(values) / total
        self.present = total
        self.least, self.most = min(self.least, float(values.min())), max(self.most, float(values.max()))
        self.counts += np.bincount(np.searchsorted(inner, values, side="right"), minlength=BUCKETS)
