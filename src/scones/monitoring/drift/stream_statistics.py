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

from scones.domain.errors import MonitoringError
from scones.monitoring.drift.features import MIN_PHOTOS, Floats, NormalScores, products, spreads, whitener

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
    """The running sums of one stream or, with a leading axis, of many at once."""

    moments: Floats
    together: Floats
    evidence: Floats


@dataclass(frozen=True, slots=True)
class StreamIncrements:
    """What each photo adds: whitened levels and spreads, whitened products, and the factor of each sum of evidence."""

    moments: Floats
    together: Floats
    factors: Floats

    def initial(self, *streams: int) -> StreamStatistics:
        """The sums of new streams."""
        parts = (self.moments, self.together, self.factors)
        return StreamStatistics(*(np.zeros((*streams, part.shape[1])) for part in parts))

    def update(self, sums: StreamStatistics, photos: NDArray[np.intp] | int) -> StreamStatistics:
        """Add the next photo: one number, or one for each stream."""
        return StreamStatistics(
            sums.moments + DECAY * (self.moments[photos] - sums.moments),
            sums.together + DECAY * (self.together[photos] - sums.together),
            np.minimum((sums.evidence + 1) * self.factors[photos], _MAX_EVIDENCE),
        )


def statistic_values(sums: StreamStatistics, seen: int) -> Floats:
    """The three statistics, [..., 3], after *seen* photos."""
    variance = DECAY / (2 - DECAY) * (1 - (1 - DECAY) ** (2 * seen))
    parts = [
        (sums.moments**2).sum(axis=-1) / variance,
        (sums.together**2).sum(axis=-1) / variance,
        np.log(sums.evidence.mean(axis=-1)),
    ]
    return np.stack(parts, axis=-1)


@dataclass(frozen=True, slots=True)
class StreamReference:
    """The baseline, prepared for comparing single photos with it."""

    normal_scores: NormalScores
    centre: Floats
    spread: Floats
    whiteners: tuple[Floats, Floats]
    absent: NDArray[np.bool_]
    """Features that the baseline lacks, or in which most photos have the same value: they get no normal scores."""
    mode: Floats
    """The most frequent value of a feature that few photos exceed; how many do is followed. Elsewhere NaN."""
    exceed_rate: Floats
    """How often it is exceeded in the baseline."""

    @classmethod
    def of(cls, values: Floats) -> "StreamReference":
        """Fit to the baseline's features, [n, features]; one that was not measured is ignored later."""
        modes, counts = np.array([_most_frequent(column) for column in values.T]).T
        absent = np.asarray(np.isnan(values).any(axis=0) | (counts > len(values) / 2))
        exceed_rate = np.maximum((values > modes).mean(axis=0), 1 / len(values))
        mode = np.where(absent & (exceed_rate < _RARE), modes, np.nan)
        normal_scores = NormalScores.of(np.where(absent, 0, values))
        scores = normal_scores.score(np.where(absent, 0, values))
        features = np.column_stack([scores, spreads(scores), products(scores)])
        centre, spread = features.mean(axis=0), np.maximum(features.std(axis=0), _TINY)
        cut = 2 * values.shape[1]
        whiteners = whitener(features[:, :cut]), whitener(features[:, cut:])
        return cls(normal_scores, centre, spread, whiteners, absent, mode, exceed_rate)

    def increments(self, values: Floats) -> StreamIncrements:
        """The increments of photos with these features, [m, features]; a feature that is NaN adds nothing."""
        missing = np.isnan(values) | self.absent
        scores = self.normal_scores.score(np.nan_to_num(values))
        away = np.column_stack([scores, spreads(scores), products(scores)]) - self.centre
        without = np.column_stack([missing, missing, missing[:, 1:] | missing[:, :1]])
        away[without] = 0
        cut = 2 * values.shape[1]
        near = np.clip(np.where(missing, 0, scores), -_MAX_SCORE, _MAX_SCORE)
        together = np.clip(away[:, cut:] / self.spread[cut:], -_MAX_PRODUCT, _MAX_PRODUCT)
        logs = [_shifted(near, _LEVELS), _widened(near), _shifted(together, _TOGETHER)]
        logs[1][np.repeat(missing, len(_SPREADS), axis=1)] = 0
        logs.append(self._exceedances(values))
        return StreamIncrements(
            away[:, :cut] @ self.whiteners[0], away[:, cut:] @ self.whiteners[1], np.exp(np.column_stack(logs))
        )

    def _exceedances(self, values: Floats) -> Floats:
        """The log-likelihood ratios, [m, features * 2], of exceeding the mode more often than the baseline does."""
        rate = np.minimum(self.exceed_rate, _RARE)[:, None]
        beyond, within = np.log(_RATE_RATIOS), np.log((1 - _RATE_RATIOS * rate) / (1 - rate))
        logs = np.where((values > self.mode)[..., None], beyond, within)
        logs[np.isnan(values) | np.isnan(self.mode)] = 0
        return _flat(logs)


def _most_frequent(column: Floats) -> tuple[float, int]:
    """The most frequent value, and how often it occurs."""
    different, counts = np.unique(column, return_counts=True)
    return float(different[counts.argmax()]), int(counts.max())


def _shifted(scores: Floats, shifts: Floats) -> Floats:
    """The log-likelihood ratios, [m, k * shifts], of a shifted normal score against an unchanged one."""
    return _flat(shifts * scores[..., None] - shifts**2 / 2)


def _widened(scores: Floats) -> Floats:
    """The same for a normal score with another standard deviation."""
    return _flat(-np.log(_SPREADS) + scores[..., None] ** 2 / 2 * (1 - 1 / _SPREADS**2))


def _flat(logs: Floats) -> Floats:
    return np.asarray(logs.reshape(len(logs), logs.shape[1] * logs.shape[2]))


STREAM_PHOTOS = 1000
"""The length of a simulated stream; the false-alarm budget counts per 1,000 photos too."""
_STREAMS = 20
# Samples whose streams are simulated together: more of them mean less overhead per photo.
_SAMPLES_AT_ONCE = 10
ROUNDS = 4
"""Each adds 200 streams, and about a second."""
# Larger baselines are thinned for the simulation: more photos only cost time and memory.
_MAX_BASELINE_PHOTOS = 10_000
MIN_BLOCKS = 5
"""Fewer blocks of time do not show how much blocks differ."""

Places = NDArray[np.intp]


class TooFewBlocks(MonitoringError):
    """The clean traffic covers too few blocks of time to estimate how much they differ."""


@dataclass(frozen=True, slots=True)
class StreamThreshold:
    """The threshold for one false-alarm rate, on a common scale of the statistics.

    On that scale 0 is the median of the highest values of clean streams, and 1 their 90% quantile.
    """

    middle: Floats
    spread: Floats
    height: float

    def score(self, found: Floats) -> Floats:
        """Scale statistics [..., 3], and return the largest."""
        return np.asarray(((found - self.middle) / self.spread).max(axis=-1))


@dataclass(frozen=True, slots=True)
class StreamCalibration:
    """The highest value of each statistic on each simulated stream: [streams, 3]."""

    highest: Floats

    def threshold(self, rate: float) -> StreamThreshold:
        """The threshold that the share *rate* of unchanged streams of 1,000 photos exceeds."""
        middle, high = np.quantile(self.highest, [0.5, 0.9], axis=0)
        scale = StreamThreshold(middle, np.maximum(high - middle, _TINY), 0.0)
        height = float(np.quantile(scale.score(self.highest), 1 - rate, method="higher"))
        return StreamThreshold(scale.middle, scale.spread, height)


def calibrate_stream(
    values: Floats, blocks: Places | None = None, *, seed: int = 0, rounds: int = ROUNDS
) -> StreamCalibration:
    """Simulate streams of the features *values*, [n, features], of clean photos.

    Photos that depend on each other, as by day and night, need *blocks* [n]: a number per photo that is the same in
    the same stretch of time; *values* are then in the order of time, and whole blocks are drawn. A block should cover
    one cycle: a day, if nights are dark.

    Raises:
        TooFewBlocks: fewer than five blocks.
    """
    groups = _groups(len(values), blocks)
    if len(groups) < MIN_BLOCKS:
        raise TooFewBlocks(f"{len(groups)} blocks of clean traffic; collect {MIN_BLOCKS} or more, such as days")
    rng = np.random.default_rng(seed)
    # One round after another: the tables of all rounds would not fit into a small function's memory.
    found = [_highest(*_join([_sample(values, groups, rng) for _ in range(_SAMPLES_AT_ONCE)])) for _ in range(rounds)]
    return StreamCalibration(np.concatenate(found))


def _sample(values: Floats, groups: list[Places], rng: np.random.Generator) -> tuple[StreamIncrements, Places]:
    """Draw a baseline; return each photo's increments against it, and some streams of photos, [streams, photos]."""
    measured_by = rng.integers(0, len(groups), len(groups))
    reference = StreamReference.of(values[np.concatenate([groups[number] for number in measured_by])])
    rows = np.stack([_stream(groups, rng) for _ in range(_STREAMS)])
    # Only photos that occur are measured.
    needed, places = np.unique(rows, return_inverse=True)
    return reference.increments(values[needed]), places.reshape(rows.shape)


def _join(samples: list[tuple[StreamIncrements, Places]]) -> tuple[StreamIncrements, Places]:
    """Join the increments of several samples, and their streams."""
    firsts = np.cumsum([0] + [len(increments.factors) for increments, _ in samples[:-1]])
    parts = ([getattr(increments, name) for increments, _ in samples] for name in StreamIncrements.__slots__)
    joined = StreamIncrements(*(np.concatenate(part) for part in parts))
    return joined, np.concatenate([streams + first for first, (_, streams) in zip(firsts, samples, strict=True)])


def _groups(photos: int, blocks: Places | None) -> list[Places]:
    """The photos of each block; by default each photo is a block of its own."""
    if blocks is None:
        kept = np.linspace(0, photos - 1, min(photos, _MAX_BASELINE_PHOTOS)).astype(np.intp)
        return [kept[place : place + 1] for place in range(len(kept))]
    return [np.flatnonzero(blocks == block) for block in np.unique(blocks)]


def _stream(groups: list[Places], rng: np.random.Generator) -> Places:
    """Draw blocks with enough photos, starting anywhere in the first block."""
    enough = STREAM_PHOTOS // min(map(len, groups)) + 2
    first, *others = (groups[number] for number in rng.integers(0, len(groups), enough))
    return np.concatenate([first[rng.integers(0, len(first)) :], *others])[:STREAM_PHOTOS]


def _highest(increments: StreamIncrements, streams: Places) -> Floats:
    """Simulate every stream, [streams, photos]; return the highest value of each statistic, [streams, 3]."""
    sums = increments.initial(len(streams))
    highest = np.full((len(streams), STATISTICS), -np.inf)
    for seen, photos in enumerate(streams.T, start=1):
        sums = increments.update(sums, photos)
        if seen >= MIN_PHOTOS:
            highest = np.maximum(highest, statistic_values(sums, seen))
    return highest
