"""Has what the endpoint sees changed? One verdict per batch of photos, with a false-alarm rate that holds.

Three tests look at the batch: T² on normal scores and their squares (shifts of level and spread in any mix of
channels), Kolmogorov-Smirnov on the model's answer, and Kolmogorov-Smirnov on the worst channel. Each is put on a
common scale and the largest counts. The alarm line is where that maximum lies in clean splits of the baseline, so
the number of channels, their correlation and the baseline's own size are all paid for.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from scones.errors import SconesError
from scones.monitoring.baseline import Baseline
from scones.monitoring.channels import CHANNELS
from scones.settings import MAX_RATE, MIN_RATE

MIN_PHOTOS = 20
MIN_BASELINE = 2 * MIN_PHOTOS
# Ten splits beyond the line keep the rate's own standard error near a third of it, at a cost under a second.
_SPLITS_PER_ALARM = 10
_MIN_SPLITS = 2000
_CHUNK_SPLITS = 500
_RIDGE = 0.02
_TINY = 1e-12

Floats = NDArray[np.float64]


class BadRate(SconesError):
    """A false-alarm rate that cannot be calibrated."""


@dataclass(frozen=True, slots=True)
class ChannelShift:
    """One channel's medians in the baseline and in the batch; *score* is on the verdict's scale."""

    name: str
    before: float
    now: float
    score: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the check found; *channels* is sorted, the most changed first.

    *chance* is the share of clean splits that score as high: the odds that this is noise.
    With too few photos *enough* is false, there is no score, and there is never an alarm.
    """

    alarm: bool
    enough: bool
    photos: int
    score: float
    threshold: float
    channels: tuple[ChannelShift, ...]
    chance: float = 1.0
    false_alarm_rate: float = 0.0


def check(baseline: Baseline, values: Floats, *, false_alarm_rate: float, seed: int = 0) -> Verdict:
    """Compare the measurements *values* [n, channels] of a batch with the baseline.

    *false_alarm_rate* is the share of checks on unchanged photos that may raise an alarm. Photos are taken to be
    independent: consecutive frames of one camera are not, and need a lower rate.

    Raises:
        BadRate: the rate is not between MIN_RATE and MAX_RATE.
    """
    if not MIN_RATE <= false_alarm_rate <= MAX_RATE:
        raise BadRate(f"a false-alarm rate of {false_alarm_rate} per check; choose {MIN_RATE} to {MAX_RATE}")
    photos = len(values)
    if photos < MIN_PHOTOS or len(baseline.values) < MIN_BASELINE:
        return Verdict(False, False, photos, 0.0, 0.0, (), false_alarm_rate=false_alarm_rate)
    clean = _statistics_of_splits(baseline.values, photos, _splits(false_alarm_rate), seed)
    scale = _Scale.fit(clean)
    null = scale.standardise(clean).max(axis=1)
    threshold = float(np.quantile(null, 1 - false_alarm_rate, method="higher"))
    t2, distances = _statistics(baseline.values, values)
    score = float(scale.standardise(_three(np.array([t2]), distances[None])).max())
    return Verdict(
        alarm=score > threshold,
        enough=True,
        photos=photos,
        score=score,
        threshold=threshold,
        channels=_shifts(baseline.values, values, scale.standardise_channels(distances)),
        chance=float((1 + (null >= score).sum()) / (1 + len(null))),
        false_alarm_rate=false_alarm_rate,
    )


@dataclass(frozen=True, slots=True)
class _Scale:
    """Puts the three statistics on one scale: 0 is a usual clean split, 1 the one in twenty."""

    middle: Floats
    spread: Floats

    @classmethod
    def fit(cls, clean: Floats) -> "_Scale":
        middle, high = np.quantile(clean, [0.5, 0.95], axis=0)
        return cls(middle, np.maximum(high - middle, _TINY))

    def standardise(self, statistics: Floats) -> Floats:
        return (statistics - self.middle) / self.spread

    def standardise_channels(self, distances: Floats) -> Floats:
        return np.asarray((distances - self.middle[2]) / self.spread[2])


def _splits(false_alarm_rate: float) -> int:
    return max(_MIN_SPLITS, int(np.ceil(_SPLITS_PER_ALARM / false_alarm_rate)))


def _three(t2: Floats, distances: Floats) -> Floats:
    """Columns: T², KS on the model's answer, KS on the worst channel."""
    return np.column_stack([t2, distances[:, 0], distances.max(axis=1)])


def _statistics(reference: Floats, window: Floats) -> tuple[float, Floats]:
    pooled = _Pool.of(np.concatenate([reference, window]))
    inside = np.zeros((len(pooled.features), 1), dtype=bool)
    inside[len(reference) :] = True
    t2, distances = pooled.compare(inside)
    return float(t2[0]), distances[0]


def _statistics_of_splits(values: Floats, photos: int, splits: int, seed: int) -> Floats:
    """The three statistics [splits, 3] of windows drawn from the baseline against its rest.

    Both statistics are scaled by the sizes, so a batch as large as the baseline is calibrated on halves of it.
    """
    pooled = _Pool.of(values)
    size = min(photos, len(values) // 2)
    rng = np.random.default_rng(seed)
    rows = []
    for start in range(0, splits, _CHUNK_SPLITS):
        draws = rng.random((min(_CHUNK_SPLITS, splits - start), len(values)), dtype=np.float32)
        inside = np.zeros(draws.shape, dtype=bool)
        np.put_along_axis(inside, np.argpartition(draws, size, axis=1)[:, :size], values=True, axis=1)
        rows.append(_three(*pooled.compare(np.ascontiguousarray(inside.T))))
    return np.concatenate(rows)


@dataclass(frozen=True, slots=True)
class _Pool:
    """Window and reference ranked together, so that under no change every split is alike."""

    features: Floats
    whitener: Floats
    order: NDArray[np.intp]
    group_ends: tuple[NDArray[np.intp], ...]

    @classmethod
    def of(cls, values: Floats) -> "_Pool":
        ranks = stats.rankdata(values, axis=0)
        scores = stats.norm.ppf((ranks - 0.5) / len(values))
        features = np.column_stack([scores, (scores**2 - 1) / np.sqrt(2)])
        features -= features.mean(axis=0)
        order = np.argsort(values, axis=0, kind="stable")
        ordered = np.take_along_axis(values, order, axis=0)
        # Among equal values only the last one's step is a step of the distribution function.
        ends = tuple(np.flatnonzero(np.append(np.diff(column) > 0, True)) for column in ordered.T)
        return cls(features, _whitener(features), order, ends)

    def compare(self, inside: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """T² [splits] and KS distances [splits, channels] of the photos *inside* [photos, splits] and the rest."""
        total = len(inside)
        size = int(inside[:, 0].sum())
        weight = size * (total - size) / total
        gap = inside.T @ self.features * (1 / size + 1 / (total - size))
        t2 = weight * ((gap @ self.whitener) ** 2).sum(axis=1)
        # Hotelling's form: variance within the two groups, not across a shift between them.
        t2 = t2 / np.maximum(1 - t2 / total, 1 / total)
        return t2, self._distances(inside, size) / np.sqrt(weight)

    def _distances(self, inside: NDArray[np.bool_], size: int) -> Floats:
        """The largest gap between photos counted and photos expected, along each channel's order."""
        distances = np.empty((inside.shape[1], self.order.shape[1]))
        for column, ends in enumerate(self.group_ends):
            counts = np.cumsum(inside[self.order[:, column]], axis=0, dtype=np.int32)[ends]
            expected = ((ends + 1) * (size / len(inside))).astype(np.float32)
            distances[:, column] = np.abs(counts.astype(np.float32) - expected[:, None]).max(axis=0)
        return distances


def _whitener(features: Floats) -> Floats:
    """A matrix that gives the features unit covariance; a ridge keeps constant channels harmless."""
    covariance = np.cov(features.T)
    ridge = _RIDGE * np.trace(covariance) / len(covariance) + _TINY
    covariance += ridge * np.eye(len(covariance))
    return np.asarray(np.linalg.inv(np.linalg.cholesky(covariance)).T)


def _shifts(before: Floats, now: Floats, scores: Floats) -> tuple[ChannelShift, ...]:
    medians = zip(CHANNELS, np.median(before, axis=0), np.median(now, axis=0), scores, strict=True)
    shifts = [ChannelShift(name, float(old), float(new), float(score)) for name, old, new, score in medians]
    return tuple(sorted(shifts, key=lambda shift: -shift.score))
