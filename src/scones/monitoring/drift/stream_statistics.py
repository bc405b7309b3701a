"""Statistics that move with every photo, and the simulation that sets their threshold.

Three statistics move with every photo. Two are MEWMA's T² (C. Lowry et al., 1992): of exponentially weighted means of
levels and spreads, and of how far the prediction goes with every other feature; good at small changes in many.
The third is an e-detector (J. Shin, A. Ramdas and A. Rinaldo, 2022): the mean of Shiryaev-Roberts sums, one for each
change that a feature may undergo; good at a change in one. The largest counts, on one scale, against one threshold.

The threshold comes from a seeded Monte Carlo simulation. Each simulated stream is drawn from the baseline's photos and
measured against a new sample of them that is as large as the baseline, because the baseline itself is only a sample.
The traffic is assumed to bring new photos of the same kind; repeating the same few photos fires more often.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scones.domain.errors import SconesError
from scones.monitoring.drift.normal_scores import MIN_PHOTOS, Floats, NormalScores, products, spreads, whitener

STATISTICS = 3
DECAY = 0.02
"""The weight of the newest photo in the means: they remember about a hundred."""
_LEVELS = np.array([-1.0, -0.5, 0.5, 1.0])
_SPREADS = np.array([0.5, 2.0])
_TOGETHER = np.array([-0.5, 0.5])
_RATE_RATIOS = np.array([1.5, 2.5])
_RARE = 0.2
# Beyond these, one photo would count as much as many.
_MAX_SCORE, _MAX_PRODUCT = 3.0, 4.0
_MAX_EVIDENCE = 1e250
_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class StreamStatistics:
    """Where the statistics stand on one stream, or, with a leading axis, on many at once."""

    moments: Floats
    together: Floats
    evidence: Floats


@dataclass(frozen=True, slots=True)
class StreamIncrements:
    """What each photo adds: whitened levels and spreads, whitened products, and the factor of each sum of evidence."""

    moments: Floats
    together: Floats
    factors: Floats

    def start(self, *streams: int) -> StreamStatistics:
        """Stand at the beginning of as many streams."""
        parts = (self.moments, self.together, self.factors)
        return StreamStatistics(*(np.zeros((*streams, part.shape[1])) for part in parts))

    def move(self, motion: StreamStatistics, photos: NDArray[np.intp] | int) -> StreamStatistics:
        """Take in the next photo: one number, or one for each stream."""
        return StreamStatistics(
            motion.moments + DECAY * (self.moments[photos] - motion.moments),
            motion.together + DECAY * (self.together[photos] - motion.together),
            np.minimum((motion.evidence + 1) * self.factors[photos], _MAX_EVIDENCE),
        )


def statistic_values(motion: StreamStatistics, seen: int) -> Floats:
    """Give the three statistics, [..., 3], after *seen* photos."""
    variance = DECAY / (2 - DECAY) * (1 - (1 - DECAY) ** (2 * seen))
    parts = [
        (motion.moments**2).sum(axis=-1) / variance,
        (motion.together**2).sum(axis=-1) / variance,
        np.log(motion.evidence.mean(axis=-1)),
    ]
    return np.stack(parts, axis=-1)


@dataclass(frozen=True, slots=True)
class StreamReference:
    """The baseline as the stream is measured against it."""

    yardstick: NormalScores
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
    def of(cls, values: Floats) -> "StreamReference":
        """Take the baseline's channels, [n, channels]; one that was not measured says nothing later either."""
        commonest, alike = np.array([_most_frequent(column) for column in values.T]).T
        absent = np.asarray(np.isnan(values).any(axis=0) | (alike > len(values) / 2))
        often = np.maximum((values > commonest).mean(axis=0), 1 / len(values))
        usual = np.where(absent & (often < _RARE), commonest, np.nan)
        yardstick = NormalScores.of(np.where(absent, 0, values))
        scores = yardstick.score(np.where(absent, 0, values))
        features = np.column_stack([scores, spreads(scores), products(scores)])
        centre, spread = features.mean(axis=0), np.maximum(features.std(axis=0), _TINY)
        cut = 2 * values.shape[1]
        whiteners = whitener(features[:, :cut]), whitener(features[:, cut:])
        return cls(yardstick, centre, spread, whiteners, absent, usual, often)

    def steps(self, values: Floats) -> StreamIncrements:
        """Turn the channels of photos, [m, channels], into what they add; a channel that is NaN adds nothing."""
        missing = np.isnan(values) | self.absent
        scores = self.yardstick.score(np.nan_to_num(values))
        away = np.column_stack([scores, spreads(scores), products(scores)]) - self.centre
        without = np.column_stack([missing, missing, missing[:, 1:] | missing[:, :1]])
        away[without] = 0
        cut = 2 * values.shape[1]
        near = np.clip(np.where(missing, 0, scores), -_MAX_SCORE, _MAX_SCORE)
        together = np.clip(away[:, cut:] / self.spread[cut:], -_MAX_PRODUCT, _MAX_PRODUCT)
        logs = [_shifted(near, _LEVELS), _widened(near), _shifted(together, _TOGETHER)]
        logs[1][np.repeat(missing, len(_SPREADS), axis=1)] = 0
        logs.append(self._oftener(values))
        return StreamIncrements(
            away[:, :cut] @ self.whiteners[0], away[:, cut:] @ self.whiteners[1], np.exp(np.column_stack(logs))
        )

    def _oftener(self, values: Floats) -> Floats:
        """The log-likelihood ratios, [m, channels * 2], of exceeding what is usual more often than the baseline."""
        often = np.minimum(self.often, _RARE)[:, None]
        beyond, within = np.log(_RATE_RATIOS), np.log((1 - _RATE_RATIOS * often) / (1 - often))
        logs = np.where((values > self.usual)[..., None], beyond, within)
        logs[np.isnan(values) | np.isnan(self.usual)] = 0
        return _flat(logs)


def _most_frequent(column: Floats) -> tuple[float, int]:
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


STREAM_PHOTOS = 1000
"""The length of a simulated stream; budgets are counted per as many photos."""
_STREAMS = 20
# Samples whose streams are moved along together: the more, the less time goes into each step's overhead.
_SAMPLES_AT_ONCE = 10
ROUNDS = 4
"""Each adds 200 streams, and about a second."""
# Larger baselines are thinned for the simulation: beyond, they only cost time and memory.
_MAX_BASELINE_PHOTOS = 10_000
MIN_BLOCKS = 5
"""Fewer stretches of time say nothing about how much they differ."""

Places = NDArray[np.intp]


class TooFewBlocks(SconesError):
    """The clean traffic covers too few blocks of time to say how much they differ."""


@dataclass(frozen=True, slots=True)
class StreamThreshold:
    """The alarm line for one false-alarm rate, and the common scale of the statistics: 1 is the usual worst of ten."""

    middle: Floats
    spread: Floats
    height: float

    def score(self, found: Floats) -> Floats:
        """Put statistics [..., 3] on the scale, and give the largest."""
        return np.asarray(((found - self.middle) / self.spread).max(axis=-1))


@dataclass(frozen=True, slots=True)
class StreamCalibration:
    """How high each statistic rose on each simulated stream: [streams, 3]."""

    highest: Floats

    def line(self, rate: float) -> StreamThreshold:
        """Find the line that the share *rate* of unchanged streams of 1,000 photos crosses."""
        middle, high = np.quantile(self.highest, [0.5, 0.9], axis=0)
        scale = StreamThreshold(middle, np.maximum(high - middle, _TINY), 0.0)
        height = float(np.quantile(scale.score(self.highest), 1 - rate, method="higher"))
        return StreamThreshold(scale.middle, scale.spread, height)


def calibrate_stream(
    values: Floats, blocks: Places | None = None, *, seed: int = 0, rounds: int = ROUNDS
) -> StreamCalibration:
    """Simulate streams of the channels *values*, [n, channels], of clean photos.

    Photos that depend on each other, as by day and night, need *blocks* [n]: numbers that are the same for photos of
    the same stretch of time, and *values* in the order of time. Whole blocks are then drawn. A block should hold
    whatever repeats itself: a day, where nights are dark.

    Raises:
        TooFewBlocks: fewer than five blocks.
    """
    groups = _groups(len(values), blocks)
    if len(groups) < MIN_BLOCKS:
        raise TooFewBlocks(f"{len(groups)} blocks of clean traffic; collect {MIN_BLOCKS} or more, such as days")
    rng = np.random.default_rng(seed)
    # One round after the other: the tables of all would not fit into a small function's memory.
    found = [_highest(*_join([_sample(values, groups, rng) for _ in range(_SAMPLES_AT_ONCE)])) for _ in range(rounds)]
    return StreamCalibration(np.concatenate(found))


def _sample(values: Floats, groups: list[Places], rng: np.random.Generator) -> tuple[StreamIncrements, Places]:
    """Draw a baseline; give what each photo adds against it, and some streams of them, [streams, photos]."""
    measured_by = rng.integers(0, len(groups), len(groups))
    reference = StreamReference.of(values[np.concatenate([groups[number] for number in measured_by])])
    rows = np.stack([_stream(groups, rng) for _ in range(_STREAMS)])
    # Only the photos that occur are measured.
    needed, places = np.unique(rows, return_inverse=True)
    return reference.steps(values[needed]), places.reshape(rows.shape)


def _join(samples: list[tuple[StreamIncrements, Places]]) -> tuple[StreamIncrements, Places]:
    """Make one table of the steps of several samples, and one of their streams."""
    firsts = np.cumsum([0] + [len(steps.factors) for steps, _ in samples[:-1]])
    parts = ([getattr(steps, name) for steps, _ in samples] for name in StreamIncrements.__slots__)
    joined = StreamIncrements(*(np.concatenate(part) for part in parts))
    return joined, np.concatenate([streams + first for first, (_, streams) in zip(firsts, samples, strict=True)])


def _groups(photos: int, blocks: Places | None) -> list[Places]:
    """The photos of each block; by default each photo is a block of its own."""
    if blocks is None:
        kept = np.linspace(0, photos - 1, min(photos, _MAX_BASELINE_PHOTOS)).astype(np.intp)
        return [kept[place : place + 1] for place in range(len(kept))]
    return [np.flatnonzero(blocks == block) for block in np.unique(blocks)]


def _stream(groups: list[Places], rng: np.random.Generator) -> Places:
    """Draw blocks that hold enough photos; it begins anywhere in a block, as a look may."""
    enough = STREAM_PHOTOS // min(map(len, groups)) + 2
    first, *others = (groups[number] for number in rng.integers(0, len(groups), enough))
    return np.concatenate([first[rng.integers(0, len(first)) :], *others])[:STREAM_PHOTOS]


def _highest(steps: StreamIncrements, streams: Places) -> Floats:
    """Let every stream run, [streams, photos]; give the highest value of each statistic, [streams, 3]."""
    motion = steps.start(len(streams))
    highest = np.full((len(streams), STATISTICS), -np.inf)
    for seen, photos in enumerate(streams.T, start=1):
        motion = steps.move(motion, photos)
        if seen >= MIN_PHOTOS:
            highest = np.maximum(highest, statistic_values(motion, seen))
    return highest
