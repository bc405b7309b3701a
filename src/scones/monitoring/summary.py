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
        low, high = baseline.min(axis=0), baseline.max(axis=0)
        self.edges: Floats = np.linspace(low, np.where(high > low, high, low + 1), BUCKETS + 1, axis=1)
        self.photos = 0
        self.mean = np.zeros(len(CHANNELS))
        self.least = np.full(len(CHANNELS), np.inf)
        self.most = np.full(len(CHANNELS), -np.inf)
        self.counts = np.zeros((len(CHANNELS), BUCKETS), np.int64)
        self._squares = np.zeros(len(CHANNELS))

    @property
    def deviation(self) -> Floats:
        """The standard deviation of each channel."""
        return np.asarray(np.sqrt(self._squares / max(1, self.photos)))

    def add(self, values: Floats) -> None:
        """Count the measurements *values* [n, channels] in."""
        if not len(values):
            return
        total = self.photos + len(values)
        mean = values.mean(axis=0)
        gap = mean - self.mean
        # Chan, Golub and LeVeque, 1979: sums of squares join without losing digits.
        self._squares += ((values - mean) ** 2).sum(axis=0) + gap**2 * self.photos * len(values) / total
        self.mean += gap * len(values) / total
        self.photos = total
        self.least = np.minimum(self.least, values.min(axis=0))
        self.most = np.maximum(self.most, values.max(axis=0))
        for channel, inner in enumerate(self.edges[:, 1:-1]):
            bucket = np.searchsorted(inner, values[:, channel], side="right")
            self.counts[channel] += np.bincount(bucket, minlength=BUCKETS)
