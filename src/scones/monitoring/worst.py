"""The worst photos of a batch, the baseline photos nearest to them, and the photo at which the change began; pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scones.monitoring.channels import CHANNELS
from scones.monitoring.detectors import ChannelShift
from scones.monitoring.scores import Floats, Yardstick

# Below, a channel's level has not moved, though it may have become more varied.
_MOVED = 0.25
_FEWEST_AFTER = 5
_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class Direction:
    """How the photos changed, on the scale of normal scores: the weight of each channel's level and of its size."""

    yardstick: Yardstick
    levels: Floats
    sizes: Floats

    @classmethod
    def of(cls, baseline: Floats, values: Floats, shifts: Sequence[ChannelShift]) -> "Direction":
        """Take the direction in which *values* [n, channels] lie from the *baseline*, [m, channels].

        What is not a number says nothing.
        """
        yardstick = Yardstick.of(np.nan_to_num(baseline))
        middle = np.median(yardstick.score(np.nan_to_num(values)), axis=0)
        weights = {shift.name: max(shift.score, 0.0) for shift in shifts}
        loudness = np.array([weights.get(name, 0.0) for name in CHANNELS])
        moved = np.abs(middle) >= _MOVED
        return cls(yardstick, np.where(moved, loudness * np.sign(middle), 0), np.where(moved, 0, loudness))

    def along(self, values: Floats) -> Floats:
        """Say how far each photo lies in that direction, [n]."""
        scores = self.yardstick.score(np.nan_to_num(values))
        return np.asarray(scores @ self.levels + np.abs(scores) @ self.sizes)


def worst(along: Floats, count: int) -> NDArray[np.intp]:
    """Give the places of the photos that lie farthest, the worst first."""
    return np.argsort(-along, kind="stable")[:count]


def nearest(baseline: Floats, values: Floats) -> NDArray[np.intp]:
    """Give the place in the *baseline* of the photo most like each of *values*, over all channels."""
    yardstick = Yardstick.of(np.nan_to_num(baseline))
    known, asked = (yardstick.score(np.nan_to_num(table)) for table in (baseline, values))
    apart = (known**2).sum(axis=1) - 2 * asked @ known.T
    return np.asarray(apart.argmin(axis=1))


def onset(before: Floats, now: Floats) -> int:
    """Estimate the place in *now* [n] from which on it is no longer as *before* [m]: the likeliest step of a mean."""
    scores = (now - before.mean()) / (before.std() + _TINY)
    left = np.arange(len(scores), 0, -1)
    gains = np.maximum(np.cumsum(scores[::-1])[::-1], 0) ** 2 / left
    gains[left < _FEWEST_AFTER] = 0
    return int(gains.argmax()) if len(gains) else 0
