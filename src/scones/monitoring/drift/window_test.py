"""The window test: have photos or predictions changed? One verdict per window, with a false-alarm rate that holds.

Nine tests look at the window. Five are T² or the largest single part of it, on normal scores: of all features' levels
and spreads, of the largest of those, of the predictions' alone, of how far the prediction goes with every other
feature, and of the levels of what the photos show. One looks for a few out-of-distribution photos, and so at the tail
of the OOD score alone, and one at the mean prediction, which a class mix changes most. Two are Kolmogorov-Smirnov's: on
the prediction, and on the feature that changed most. Content has a test of its own, because many more features would
hide a change of a few. Each is put on a common scale and the
largest counts. The threshold is where that maximum lies in clean splits of the baseline, so the number of tests and of
features, their correlation and the baseline's own size are all accounted for. If the baseline is recorded traffic of
several days, a split is a stretch of time against all others, since photos of one hour are alike.
"""

from dataclasses import dataclass
from math import ceil, exp, log1p
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scones.config.settings import MAX_PER_THOUSAND, MAX_RATE, MIN_PER_THOUSAND, MIN_RATE
from scones.domain.errors import MonitoringError
from scones.monitoring.drift.baseline import Baseline
from scones.monitoring.drift.features import (
    CONTENT_FEATURES,
    FEATURES,
    MIN_PHOTOS,
    PREDICTION_FEATURES,
    Floats,
    normal_quantiles,
    products,
    rank_columns,
    spreads,
    whitener,
)

DEFAULT_PER_THOUSAND = 0.1
_THOUSAND = 1000
# Each detector finds early what the other finds late, so both get the same share.
_SHARE = 0.5


class InvalidBudget(MonitoringError):
    """A number of false alarms that cannot be calibrated."""


@dataclass(frozen=True, slots=True)
class FalseAlarmBudget:
    """The expected number of false alarms per 1,000 photos, half for the stream detector and half for the windows.

    The halves add up whatever the two detectors have in common (Boole's inequality), so the whole is a bound.

    Raises:
        InvalidBudget: on construction, if the number is not between MIN_PER_THOUSAND and MAX_PER_THOUSAND.
    """

    per_thousand: float = DEFAULT_PER_THOUSAND

    def __post_init__(self) -> None:
        """Reject a number that no calibration can guarantee."""
        if not MIN_PER_THOUSAND <= self.per_thousand <= MAX_PER_THOUSAND:
            allowed = f"{MIN_PER_THOUSAND} to {MAX_PER_THOUSAND}"
            raise InvalidBudget(
                f"{self.per_thousand} false alarms per 1,000 photos cannot be guaranteed; choose {allowed}"
            )

    def of_stream(self) -> float:
        """The probability of a false alarm of the stream detector within 1,000 photos."""
        return 1 - exp(-_SHARE * self.per_thousand)

    def of_window(self, photos: int) -> float:
        """The false-alarm rate of one test of so many *photos*: large windows are rarer, so each may use more.

        A window of fewer than `min_window` photos gets a lower rate than a test can be calibrated for.
        """
        return min(1 - exp(-_SHARE * self.per_thousand * photos / _THOUSAND), MAX_RATE)

    def min_window(self) -> int:
        """The smallest number of photos for which a test can be calibrated."""
        return max(MIN_PHOTOS, ceil(-log1p(-MIN_RATE) * _THOUSAND / (_SHARE * self.per_thousand)))


TestName = Literal[
    "features",
    "one feature",
    "predictions",
    "products",
    "content",
    "ood tail",
    "mean prediction",
    "prediction shape",
    "worst shape",
]
"""What a test looks at; "products" fires alone if another model predicts, with the same photos."""

MIN_BASELINE = 2 * MIN_PHOTOS
# Ten splits above the threshold keep the rate's own standard error near a third of it, in less than a second.
_SPLITS_PER_ALARM = 10
_MIN_SPLITS = 2000
_CHUNK_SPLITS = 500
# Stretches of time overlap: more of them add no information, and recorded traffic is long.
_MAX_STRETCHES = 1000
_TINY = 1e-12
# Normal scores with a smaller deviation do not vary.
_CONSTANT = 1e-9
# A normal score: three in a hundred photos of the baseline have an OOD score above it.
_OOD_ABOVE = 1.9
_MAX_LOG_ODDS = 50.0
# The columns of every table of statistics.
_TESTS: tuple[TestName, ...] = (
    *("features", "one feature", "predictions", "products", "content", "ood tail", "mean prediction"),
    *("prediction shape", "worst shape"),
)
_WORST = _TESTS.index("worst shape")


class InvalidFalseAlarmRate(MonitoringError):
    """A false-alarm rate that cannot be calibrated."""


@dataclass(frozen=True, slots=True)
class FeatureShift:
    """One feature's medians in the baseline and in the window; *score* is on the verdict's scale."""

    name: str
    before: float
    now: float
    score: float


@dataclass(frozen=True, slots=True)
class WindowVerdict:
    """The result of a window test; *features* is sorted, the most changed first.

    *chance* is the share of clean splits that score as high: the probability that this is noise.
    With too few photos *enough* is false, there is no score, and there is never an alarm.
    """

    alarm: bool
    enough: bool
    photos: int
    score: float
    threshold: float
    features: tuple[FeatureShift, ...]
    chance: float = 1.0
    false_alarm_rate: float = 0.0
    strongest: TestName | None = None
    """The test that gave the score."""

    def changed(self) -> tuple[FeatureShift, ...]:
        """The features above the threshold."""
        return tuple(shift for shift in self.features if self.enough and shift.score > self.threshold)


@dataclass(frozen=True, slots=True)
class WindowCalibration:
    """The scores of clean splits of one baseline, for windows of one size; reusable for any number of tests."""

    known: NDArray[np.intp]
    """The features that are compared."""
    scale: "_Scale"
    null: Floats


def calibrate_windows(
    baseline: Baseline, photos: int, false_alarm_rate: float, values: Floats | None = None, seed: int = 0
) -> WindowCalibration:
    """Calibrate tests of so many *photos* for this rate or any higher one, on the features that *values* has too."""
    known = _known(baseline.values, baseline.values if values is None else values)
    pooled = _Pool.of(baseline.values[:, known], known)
    splits = _splits(false_alarm_rate)
    if baseline.days is not None:
        splits = min(splits, _MAX_STRETCHES)
    clean = _statistics_of_splits(pooled, photos, splits, seed, stretches=baseline.days is not None)
    scale = _Scale.fit(clean)
    return WindowCalibration(known, scale, scale.standardise(clean).max(axis=1))


def window_test(
    baseline: Baseline,
    values: Floats,
    *,
    false_alarm_rate: float,
    seed: int = 0,
    calibration: WindowCalibration | None = None,
) -> WindowVerdict:
    """Compare the features *values* [n, features] of a window with the baseline.

    *false_alarm_rate* is the share of tests on unchanged photos that may fire. Photos are assumed to be
    independent, unless the baseline has days: consecutive frames of one camera are not, and need a lower rate.
    Without a *calibration* for windows of this size one is made.

    Raises:
        InvalidFalseAlarmRate: the rate is not between MIN_RATE and MAX_RATE.
    """
    if not MIN_RATE <= false_alarm_rate <= MAX_RATE:
        raise InvalidFalseAlarmRate(
            f"a false-alarm rate of {false_alarm_rate} per test; choose {MIN_RATE} to {MAX_RATE}"
        )
    photos = len(values)
    if photos < MIN_PHOTOS or len(baseline.values) < MIN_BASELINE:
        return WindowVerdict(False, False, photos, 0.0, 0.0, (), false_alarm_rate=false_alarm_rate)
    clean = calibration or calibrate_windows(baseline, photos, false_alarm_rate, values, seed)
    before, now = baseline.values[:, clean.known], values[:, clean.known]
    threshold = float(np.quantile(clean.null, 1 - false_alarm_rate, method="higher"))
    statistics, distances = _statistics(before, now, clean.known)
    scores = clean.scale.standardise(statistics)[0]
    score = float(scores.max())
    return WindowVerdict(
        alarm=score > threshold,
        enough=True,
        photos=photos,
        score=score,
        threshold=threshold,
        features=_shifts(before, now, clean.scale.standardise_features(distances), clean.known),
        chance=float((1 + (clean.null >= score).sum()) / (1 + len(clean.null))),
        false_alarm_rate=false_alarm_rate,
        strongest=_TESTS[int(scores.argmax())],
    )


def _known(before: Floats, now: Floats) -> NDArray[np.intp]:
    """The columns that were measured both then and now."""
    return np.flatnonzero(np.isfinite(before).all(axis=0) & np.isfinite(now).all(axis=0))


@dataclass(frozen=True, slots=True)
class _Scale:
    """Puts the statistics on one scale: 0 is a usual clean split, 1 the one in twenty."""

    middle: Floats
    spread: Floats

    @classmethod
    def fit(cls, clean: Floats) -> "_Scale":
        middle, high = np.quantile(clean, [0.5, 0.95], axis=0)
        return cls(middle, np.maximum(high - middle, _TINY))

    def standardise(self, statistics: Floats) -> Floats:
        return (statistics - self.middle) / self.spread

    def standardise_features(self, distances: Floats) -> Floats:
        return np.asarray((distances - self.middle[_WORST]) / self.spread[_WORST])


def _splits(false_alarm_rate: float) -> int:
    return max(_MIN_SPLITS, int(np.ceil(_SPLITS_PER_ALARM / false_alarm_rate)))


def _statistics(before: Floats, now: Floats, known: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Every test's statistic [1, tests], and each feature's distance [features]."""
    pooled = _Pool.of(np.concatenate([before, now]), known)
    inside = np.zeros((len(before) + len(now), 1), dtype=bool)
    inside[len(before) :] = True
    statistics, distances = pooled.compare(inside)
    return statistics, distances[0]


def _statistics_of_splits(pooled: "_Pool", photos: int, splits: int, seed: int, *, stretches: bool) -> Floats:
    """The statistics [splits, tests] of windows drawn from the baseline, or *stretches* of it, against its rest.

    All statistics are scaled by the sizes, so a batch as large as the baseline is calibrated on halves of it.
    """
    count = len(pooled.columns)
    size = min(photos, count // 2)
    rng = np.random.default_rng(seed)
    draw = _stretches if stretches else _scattered
    chunks = [min(_CHUNK_SPLITS, splits - start) for start in range(0, splits, _CHUNK_SPLITS)]
    return np.concatenate([pooled.compare(draw(chunk, count, size, rng))[0] for chunk in chunks])


def _scattered(splits: int, count: int, size: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw *size* of *count* photos each time: [count, splits]."""
    draws = rng.random((splits, count), dtype=np.float32)
    inside = np.zeros(draws.shape, dtype=bool)
    np.put_along_axis(inside, np.argpartition(draws, size, axis=1)[:, :size], values=True, axis=1)
    return np.ascontiguousarray(inside.T)


def _stretches(splits: int, count: int, size: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw *size* photos of *count* that follow each other: [count, splits]."""
    away = np.arange(count)[:, None] - rng.integers(0, count - size + 1, splits)
    return np.asarray((away >= 0) & (away < size))


@dataclass(frozen=True, slots=True)
class _Pool:
    """Window and reference ranked together, so that under no change every split is alike."""

    columns: Floats
    """Levels and spreads, products, content, the tail of the OOD score, and the prediction; mean 0 and variance 1."""
    blocks: tuple[NDArray[np.intp], ...]
    """The columns of the tests on levels and spreads, on the predictions, on the products, and on the content."""
    whiteners: tuple[Floats, ...]
    order: NDArray[np.intp]
    group_ends: tuple[NDArray[np.intp], ...]
    compared: NDArray[np.intp]
    """The features beside those of content: of these the most changed shape counts."""

    @classmethod
    def of(cls, values: Floats, known: NDArray[np.intp]) -> "_Pool":
        """Rank the columns of *values*, which are those of the features *known*."""
        scores = normal_quantiles((rank_columns(values) - 0.5) / len(values))
        tail = np.maximum(scores[:, known == FEATURES.index("ood_score")].sum(axis=1) - _OOD_ABOVE, 0)
        of_content = np.array([FEATURES[number] in CONTENT_FEATURES for number in known])
        compared, content = np.flatnonzero(~of_content), scores[:, of_content]
        scores = scores[:, compared]
        prediction = 1 / (1 + np.exp(-np.clip(values[:, 0], -_MAX_LOG_ODDS, _MAX_LOG_ODDS)))
        columns = np.column_stack([scores, spreads(scores), products(scores), content, tail, prediction])
        columns -= columns.mean(axis=0)
        deviations = columns.std(axis=0)
        # What never varies leaves rounding errors, which nothing may magnify.
        columns *= np.where(deviations > _CONSTANT, 1 / np.maximum(deviations, _CONSTANT), 0)
        count = len(compared)
        predictions = np.flatnonzero([FEATURES[number] in PREDICTION_FEATURES for number in known[compared]])
        moments, together = np.arange(2 * count), np.arange(2 * count, 3 * count - 1)
        shown = np.arange(3 * count - 1, columns.shape[1] - 2)
        blocks = (moments, np.concatenate([predictions, count + predictions]), together, shown)
        order = np.argsort(values, axis=0, kind="stable")
        ordered = np.take_along_axis(values, order, axis=0)
        # Among equal values only the last one's step is a step of the distribution function.
        ends = tuple(np.flatnonzero(np.append(np.diff(column) > 0, True)) for column in ordered.T)
        whiteners = tuple(whitener(columns[:, block]) if len(block) else np.zeros((0, 0)) for block in blocks)
        return cls(columns, blocks, whiteners, order, ends, compared)

    def compare(self, inside: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """Statistics [splits, tests] and distances [splits, features] of photos *inside* [photos, splits] and the rest.

        The distances are Kolmogorov-Smirnov's.
        """
        total = len(inside)
        size = int(inside[:, 0].sum())
        weight = size * (total - size) / total
        gap = inside.T.astype(np.float64) @ self.columns * (1 / size + 1 / (total - size))
        all_features, predictions, together, content = (
            _t2(gap[:, block] @ whiten, weight, total)
            for block, whiten in zip(self.blocks, self.whiteners, strict=True)
        )
        largest = np.abs(gap[:, self.blocks[0]]).max(axis=1) * np.sqrt(weight)
        distances = self._distances(inside, size) / np.sqrt(weight)
        tail, mean = gap[:, -2] * np.sqrt(weight), np.abs(gap[:, -1]) * np.sqrt(weight)
        shapes = (distances[:, 0], distances[:, self.compared].max(axis=1))
        return np.column_stack([all_features, largest, predictions, together, content, tail, mean, *shapes]), distances

    def _distances(self, inside: NDArray[np.bool_], size: int) -> Floats:
        """The largest gap between photos counted and photos expected, along each feature's order."""
        distances = np.empty((inside.shape[1], self.order.shape[1]))
        for column, ends in enumerate(self.group_ends):
            counts = np.cumsum(inside[self.order[:, column]], axis=0, dtype=np.int32)[ends]
            expected = ((ends + 1) * (size / len(inside))).astype(np.float32)
            distances[:, column] = np.abs(counts.astype(np.float32) - expected[:, None]).max(axis=0)
        return distances


def _t2(gap: Floats, weight: float, total: int) -> Floats:
    """Hotelling's form: variance within the two groups, not across a shift between them."""
    squares = weight * (gap**2).sum(axis=1)
    return np.asarray(squares / np.maximum(1 - squares / total, 1 / total))


def _shifts(before: Floats, now: Floats, scores: Floats, known: NDArray[np.intp]) -> tuple[FeatureShift, ...]:
    names = [FEATURES[number] for number in known]
    medians = zip(names, np.median(before, axis=0), np.median(now, axis=0), scores, strict=True)
    shifts = [FeatureShift(name, float(old), float(new), float(score)) for name, old, new, score in medians]
    return tuple(sorted(shifts, key=lambda shift: -shift.score))
