"""Calibrates the stream detector: how high its statistics rise on streams that do not change; Monte Carlo, seeded.

Each simulated stream is drawn from the baseline's photos, and measured against a new sample of them that is as large as
the baseline. So the line allows for what no nominal threshold knows of: that the baseline is a sample. The traffic is
taken to bring new photos of the same kind; one that brings the same few again and again rings more often.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scones.domain.errors import SconesError
from scones.monitoring.scores import MIN_PHOTOS, Floats
from scones.monitoring.stream import STATISTICS, Reference, Steps, statistics

PHOTOS = 1000
"""The length of a simulated stream; budgets are counted per as many photos."""
_STREAMS = 20
# Samples whose streams are moved along together: the more, the less time goes into each step's overhead.
_TOGETHER = 10
ROUNDS = 4
"""Each adds 200 streams, and about a second."""
# Larger baselines are thinned for the simulation: beyond, they only cost time and memory.
_MOST_PHOTOS = 10_000
MIN_BLOCKS = 5
"""Fewer stretches of time say nothing about how much they differ."""
_TINY = 1e-9

Places = NDArray[np.intp]


class TooFewBlocks(SconesError):
    """The clean traffic covers too few blocks of time to say how much they differ."""


@dataclass(frozen=True, slots=True)
class Line:
    """The alarm line for one false-alarm rate, and the common scale of the statistics: 1 is the usual worst of ten."""

    middle: Floats
    spread: Floats
    height: float

    def score(self, found: Floats) -> Floats:
        """Put statistics [..., 3] on the scale, and give the largest."""
        return np.asarray(((found - self.middle) / self.spread).max(axis=-1))


@dataclass(frozen=True, slots=True)
class Calibration:
    """How high each statistic rose on each simulated stream: [streams, 3]."""

    highest: Floats

    def line(self, rate: float) -> Line:
        """Find the line that the share *rate* of unchanged streams of 1,000 photos crosses."""
        middle, high = np.quantile(self.highest, [0.5, 0.9], axis=0)
        scale = Line(middle, np.maximum(high - middle, _TINY), 0.0)
        height = float(np.quantile(scale.score(self.highest), 1 - rate, method="higher"))
        return Line(scale.middle, scale.spread, height)


def calibrate(values: Floats, blocks: Places | None = None, *, seed: int = 0, rounds: int = ROUNDS) -> Calibration:
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
    found = [_highest(*_join([_sample(values, groups, rng) for _ in range(_TOGETHER)])) for _ in range(rounds)]
    return Calibration(np.concatenate(found))


def _sample(values: Floats, groups: list[Places], rng: np.random.Generator) -> tuple[Steps, Places]:
    """Draw a baseline; give what each photo adds against it, and some streams of them, [streams, photos]."""
    measured_by = rng.integers(0, len(groups), len(groups))
    reference = Reference.of(values[np.concatenate([groups[number] for number in measured_by])])
    rows = np.stack([_stream(groups, rng) for _ in range(_STREAMS)])
    # Only the photos that occur are measured.
    needed, places = np.unique(rows, return_inverse=True)
    return reference.steps(values[needed]), places.reshape(rows.shape)


def _join(samples: list[tuple[Steps, Places]]) -> tuple[Steps, Places]:
    """Make one table of the steps of several samples, and one of their streams."""
    firsts = np.cumsum([0] + [len(steps.factors) for steps, _ in samples[:-1]])
    parts = ([getattr(steps, name) for steps, _ in samples] for name in Steps.__slots__)
    joined = Steps(*(np.concatenate(part) for part in parts))
    return joined, np.concatenate([streams + first for first, (_, streams) in zip(firsts, samples, strict=True)])


def _groups(photos: int, blocks: Places | None) -> list[Places]:
    """The photos of each block; by default each photo is a block of its own."""
    if blocks is None:
        kept = np.linspace(0, photos - 1, min(photos, _MOST_PHOTOS)).astype(np.intp)
        return [kept[place : place + 1] for place in range(len(kept))]
    return [np.flatnonzero(blocks == block) for block in np.unique(blocks)]


def _stream(groups: list[Places], rng: np.random.Generator) -> Places:
    """Draw blocks that hold enough photos; it begins anywhere in a block, as a look may."""
    enough = PHOTOS // min(map(len, groups)) + 2
    first, *others = (groups[number] for number in rng.integers(0, len(groups), enough))
    return np.concatenate([first[rng.integers(0, len(first)) :], *others])[:PHOTOS]


def _highest(steps: Steps, streams: Places) -> Floats:
    """Let every stream run, [streams, photos]; give the highest value of each statistic, [streams, 3]."""
    motion = steps.start(len(streams))
    highest = np.full((len(streams), STATISTICS), -np.inf)
    for seen, photos in enumerate(streams.T, start=1):
        motion = steps.move(motion, photos)
        if seen >= MIN_PHOTOS:
            highest = np.maximum(highest, statistics(motion, seen))
    return highest
