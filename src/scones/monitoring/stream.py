"""Watches the stream photo by photo, so that a change is found soon after it begins; the state goes from look to look.

Three statistics move with every photo. Two are MEWMA's T² (C. Lowry et al., 1992): of exponentially weighted means of
levels and spreads, and of how far the answer goes with every other channel; good at small changes in many channels.
The third is an e-detector (J. Shin, A. Ramdas and A. Rinaldo, 2022): the mean of Shiryaev-Roberts sums, one for each
change that a channel may undergo; good at a change in one. The largest counts, on a common scale, against one line.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scones.monitoring.scores import Floats, Yardstick, products, spreads, whitener

STATISTICS = 3
FORGETTING = 0.02
"""The weight of the newest photo in the means: they remember about a hundred."""
_LEVELS = np.array([-1.0, -0.5, 0.5, 1.0])
_SPREADS = np.array([0.5, 2.0])
_TOGETHER = np.array([-0.5, 0.5])
_OFTENER = np.array([1.5, 2.5])
_SELDOM = 0.2
# Beyond these, one photo would count as much as many.
_MOST_SCORE, _MOST_PRODUCT = 3.0, 4.0
_MOST_EVIDENCE = 1e250
_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class Motion:
    """Where the statistics stand on one stream, or, with a leading axis, on many at once."""

    moments: Floats
    together: Floats
    evidence: Floats


@dataclass(frozen=True, slots=True)
class Steps:
    """What each photo adds: whitened levels and spreads, whitened products, and the factor of each sum of evidence."""

    moments: Floats
    together: Floats
    factors: Floats

    def start(self, *streams: int) -> Motion:
        """Stand at the beginning of as many streams."""
        parts = (self.moments, self.together, self.factors)
        return Motion(*(np.zeros((*streams, part.shape[1])) for part in parts))

    def move(self, motion: Motion, photos: NDArray[np.intp] | int) -> Motion:
        """Take in the next photo: one number, or one for each stream."""
        return Motion(
            motion.moments + FORGETTING * (self.moments[photos] - motion.moments),
            motion.together + FORGETTING * (self.together[photos] - motion.together),
            np.minimum((motion.evidence + 1) * self.factors[photos], _MOST_EVIDENCE),
        )


def statistics(motion: Motion, seen: int) -> Floats:
    """Give the three statistics, [..., 3], after *seen* photos."""
    variance = FORGETTING / (2 - FORGETTING) * (1 - (1 - FORGETTING) ** (2 * seen))
    parts = [
        (motion.moments**2).sum(axis=-1) / variance,
        (motion.together**2).sum(axis=-1) / variance,
        np.log(motion.evidence.mean(axis=-1)),
    ]
    return np.stack(parts, axis=-1)


@dataclass(frozen=True, slots=True)
class Reference:
    """The baseline as the stream is measured against it."""

    yardstick: Yardstick
    centre: Floats
    spread: Floats
    whiteners: tuple[Floats, Floats]
    absent: NDArray[np.bool_]
    """The channels that the baseline has not got, or in which most photos are alike: those have no normal scores."""
    usual: Floats
    """What most photos are alike in, where few exceed it; how often that happens is watched. Elsewhere NaN."""
    often: Floats
    """How often it is exceeded."""

    @classmethod
    def of(cls, values: Floats) -> "Reference":
        """Take the baseline's channels, [n, channels]; one that was not measured says nothing later either."""
        commonest, alike = np.array([_commonest(column) for column in values.T]).T
        absent = np.asarray(np.isnan(values).any(axis=0) | (alike > len(values) / 2))
        often = np.maximum((values > commonest).mean(axis=0), 1 / len(values))
        usual = np.where(absent & (often < _SELDOM), commonest, np.nan)
        yardstick = Yardstick.of(np.where(absent, 0, values))
        scores = yardstick.score(np.where(absent, 0, values))
        features = np.column_stack([scores, spreads(scores), products(scores)])
        centre, spread = features.mean(axis=0), np.maximum(features.std(axis=0), _TINY)
        cut = 2 * values.shape[1]
        whiteners = whitener(features[:, :cut]), whitener(features[:, cut:])
        return cls(yardstick, centre, spread, whiteners, absent, usual, often)

    def steps(self, values: Floats) -> Steps:
        """Turn the channels of photos, [m, channels], into what they add; a channel that is NaN adds nothing."""
        missing = np.isnan(values) | self.absent
        scores = self.yardstick.score(np.nan_to_num(values))
        away = np.column_stack([scores, spreads(scores), products(scores)]) - self.centre
        without = np.column_stack([missing, missing, missing[:, 1:] | missing[:, :1]])
        away[without] = 0
        cut = 2 * values.shape[1]
        near = np.clip(np.where(missing, 0, scores), -_MOST_SCORE, _MOST_SCORE)
        together = np.clip(away[:, cut:] / self.spread[cut:], -_MOST_PRODUCT, _MOST_PRODUCT)
        logs = [_shifted(near, _LEVELS), _widened(near), _shifted(together, _TOGETHER)]
        logs[1][np.repeat(missing, len(_SPREADS), axis=1)] = 0
        logs.append(self._oftener(values))
        return Steps(
            away[:, :cut] @ self.whiteners[0], away[:, cut:] @ self.whiteners[1], np.exp(np.column_stack(logs))
        )

    def _oftener(self, values: Floats) -> Floats:
        """The log-likelihood ratios, [m, channels * 2], of exceeding what is usual more often than the baseline."""
        often = np.minimum(self.often, _SELDOM)[:, None]
        beyond, within = np.log(_OFTENER), np.log((1 - _OFTENER * often) / (1 - often))
        logs = np.where((values > self.usual)[..., None], beyond, within)
        logs[np.isnan(values) | np.isnan(self.usual)] = 0
        return _flat(logs)


def _commonest(column: Floats) -> tuple[float, int]:
    """The value that occurs most often, and how often."""
    different, counts = np.unique(column, return_counts=True)
    return float(different[counts.argmax()]), int(counts.max())


def _shifted(scores: Floats, shifts: Floats) -> Floats:
    """The log-likelihood ratios, [m, k * shifts], of a normal score that moved against one that did not."""
    return _flat(shifts * scores[..., None] - shifts**2 / 2)


def _widened(scores: Floats) -> Floats:
    """The same of a normal score whose deviation is another."""
    return _flat(-np.log(_SPREADS) + scores[..., None] ** 2 / 2 * (1 - 1 / _SPREADS**2))


def _flat(logs: Floats) -> Floats:
    return np.asarray(logs.reshape(len(logs), logs.shape[1] * logs.shape[2]))
