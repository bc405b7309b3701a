"""Features: the numbers measured for each photo, and their normal scores, on one scale whatever the unit."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from scones.domain.errors import MonitoringError

Floats = NDArray[np.float64]

MIN_PHOTOS = 20
"""Fewer photos never give a verdict."""
_RIDGE = 0.02
_TINY = 1e-12


def rank_columns(values: Floats) -> Floats:
    """Rank each column of [n, k] from 1 to n; equal values share their mean rank."""
    ranks = np.empty(values.shape)
    for number, column in enumerate(values.T):
        _, place, counts = np.unique(column, return_inverse=True, return_counts=True)
        last = np.cumsum(counts)
        ranks[:, number] = (last - (counts - 1) / 2)[place]
    return ranks


def normal_quantiles(shares: Floats) -> Floats:
    """The standard normal quantile of each of *shares*, which lie between 0 and 1."""
    # Ranks take few different values, so the exact function, one number at a time, is quick enough.
    different, place = np.unique(shares, return_inverse=True)
    quantiles = np.array([NormalDist().inv_cdf(float(share)) for share in different])
    return np.asarray(quantiles[place].reshape(shares.shape))


def spreads(scores: Floats) -> Floats:
    """Standardised squares of normal scores, which show a change of spread."""
    return np.asarray((scores**2 - 1) / np.sqrt(2))


def products(scores: Floats) -> Floats:
    """Products [n, k - 1] of the first feature, the prediction, with each other one: how they correlate.

    Swapped labels or a badly trained model may leave every feature unchanged; they change the correlations.
    """
    return np.asarray(scores[:, 1:] * scores[:, :1])


def whitener(features: Floats) -> Floats:
    """A matrix that transforms the features to unit covariance; a ridge keeps constant features harmless."""
    covariance = np.atleast_2d(np.cov(features.T))
    ridge = _RIDGE * np.trace(covariance) / len(covariance) + _TINY
    covariance += ridge * np.eye(len(covariance))
    return np.asarray(np.linalg.inv(np.linalg.cholesky(covariance)).T)


@dataclass(frozen=True, slots=True)
class NormalScores:
    """Computes normal scores of photos against a baseline."""

    ordered: Floats
    """The baseline's features [n, k], each column sorted."""
    quantiles: Floats

    @classmethod
    def of(cls, values: Floats) -> "NormalScores":
        """Fit to the baseline's features, [n, k]."""
        count = len(values)
        return cls(np.sort(values, axis=0), normal_quantiles((np.arange(2 * count + 1) / 2 + 0.5) / (count + 1)))

    def score(self, values: Floats) -> Floats:
        """The normal scores [m, k] of photos [m, k]; a value beyond all of the baseline still has a finite score."""
        scores = np.empty(values.shape)
        for number, (column, ordered) in enumerate(zip(values.T, self.ordered.T, strict=True)):
            twice = np.searchsorted(ordered, column, "left") + np.searchsorted(ordered, column, "right")
            scores[:, number] = self.quantiles[twice]
        return scores


FEATURES = (
    "log_odds",
    "certainty",
    "brightness",
    "contrast",
    "sharpness",
    "saturation",
    "red_blue",
    "clipping",
    "noise",
    "top_bottom",
    "left_right",
    "orientation",
    "ood_score",
)
"""The columns of every table of features, in this order; a column that could not be measured is all NaN."""

PREDICTION_FEATURES = frozenset({"log_odds", "certainty", "ood_score"})
"""The features that depend on the model; the others depend on the photo alone."""

FEATURE_DESCRIPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "log_odds": "log-odds of the prediction",
        "certainty": "margin between first and second class (log-odds)",
        "brightness": "mean brightness (gray levels)",
        "contrast": "spread of brightness (gray levels)",
        "sharpness": "fine detail (log variance of the Laplacian)",
        "saturation": "strength of colour (log gray levels)",
        "red_blue": "red against blue (gray levels)",
        "clipping": "share of pixels that are black or burnt out",
        "noise": "grain (log gray levels)",
        "top_bottom": "top brighter than bottom (gray levels)",
        "left_right": "left brighter than right (gray levels)",
        "orientation": "upright edges against lying ones (log ratio)",
        "ood_score": "out-of-distribution score of the model",
    }
)
"""The meaning of each feature, with its unit."""

OOD_QUANTILE = 0.9
"""OOD scores below this quantile of the baseline are clipped: only the upper tail is compared."""

_EARLIER_NAMES = {"unfamiliarity": "ood_score"}

# float32 saturates at 0 and 1; a floor keeps the logarithm finite without changing any real prediction.
_FLOOR = 1e-5
BUCKETS = 10
"""Of the histograms; as many as Model Monitor has."""
_CHUNK_PHOTOS = 256
_BLACK, _BURNT = 2, 253

Photos = NDArray[np.uint8]


def current_names(names: Iterable[str]) -> tuple[str, ...]:
    """Translate feature names that files of earlier releases contain."""
    return tuple(_EARLIER_NAMES.get(name, name) for name in names)


class InvalidMeasurement(MonitoringError):
    """Photos and probabilities do not fit together, or hold values that cannot be measured."""


def clip_ood_score(ood_score: NDArray[np.floating], lower: float | None = None) -> Floats:
    """Clip OOD scores [N] from below at *lower*, by default their own OOD_QUANTILE.

    The baseline's scores come from cross-validation networks, which were trained on a part of the photos; the served
    model was trained on all of them and scores every photo slightly lower. That is no change of the traffic.
    """
    scores = np.asarray(ood_score, np.float64)
    return np.maximum(scores, np.quantile(scores, OOD_QUANTILE) if lower is None else lower)


def measure_features(
    photos: Photos, probabilities: NDArray[np.floating], ood_score: NDArray[np.floating] | None = None
) -> Floats:
    """Measure every photo: uint8 [N, H, W, 3] RGB and [N, C] probabilities give [N, len(FEATURES)].

    With two classes the first feature is the log-odds of the second class; with more, of the likeliest one. The
    endpoint's response does not contain the *ood_score* [N]; the model's second output does.

    Raises:
        InvalidMeasurement: wrong shapes, or probabilities that are not finite.
    """
    _check_shapes(photos, probabilities)
    table = np.empty((len(photos), len(FEATURES)))
    for start in range(0, len(photos), _CHUNK_PHOTOS):
        rows = slice(start, start + _CHUNK_PHOTOS)
        table[rows, :-1] = np.column_stack([_prediction_features(probabilities[rows]), _pixel_features(photos[rows])])
    table[:, -1] = np.nan if ood_score is None else ood_score
    return table


def _check_shapes(photos: Photos, probabilities: NDArray[np.floating]) -> None:
    if photos.ndim != 4 or photos.shape[3] != 3 or photos.dtype != np.uint8:
        raise InvalidMeasurement(f"photos are {photos.dtype} {photos.shape}, not uint8 [N, H, W, 3]; decode them first")
    if probabilities.ndim != 2 or probabilities.shape[1] < 2 or len(probabilities) != len(photos):
        raise InvalidMeasurement(
            f"probabilities are {probabilities.shape}, not [{len(photos)}, 2 or more]; give one row for each photo"
        )
    if not np.isfinite(probabilities).all():
        raise InvalidMeasurement("some probabilities are not finite; leave those photos out and count them")


def _prediction_features(probabilities: NDArray[np.floating]) -> Floats:
    """Columns: log-odds, and the margin between the first class and the second."""
    floored = np.clip(probabilities.astype(np.float64), _FLOOR, 1 - _FLOOR)
    ranked = np.sort(floored, axis=1)
    margin = np.log(ranked[:, -1] / ranked[:, -2])
    if probabilities.shape[1] == 2:
        return np.column_stack([np.log(floored[:, 1] / floored[:, 0]), margin])
    return np.column_stack([np.log(ranked[:, -1] / (1 - ranked[:, -1])), margin])


def _pixel_features(photos: Photos) -> Floats:
    """Columns: the ten features of the pixels."""
    colour = photos.astype(np.float32)
    gray = colour.mean(axis=3)
    laplacian, grain = _second_differences(gray)
    rows, columns = max(1, gray.shape[1] // 4), max(1, gray.shape[2] // 4)
    return np.column_stack(
        [
            gray.mean(axis=(1, 2)),
            gray.std(axis=(1, 2)),
            np.log1p(laplacian.var(axis=(1, 2))),
            np.log1p((colour.max(axis=3) - colour.min(axis=3)).mean(axis=(1, 2))),
            (colour[..., 0] - colour[..., 2]).mean(axis=(1, 2)),
            ((photos <= _BLACK) | (photos >= _BURNT)).mean(axis=(1, 2, 3)),
            np.log1p(np.abs(grain).mean(axis=(1, 2))),
            gray[:, :rows].mean(axis=(1, 2)) - gray[:, -rows:].mean(axis=(1, 2)),
            gray[:, :, :columns].mean(axis=(1, 2)) - gray[:, :, -columns:].mean(axis=(1, 2)),
            _orientation(gray),
        ]
    ).astype(np.float64)


def _orientation(gray: NDArray[np.float32]) -> NDArray[np.float32]:
    """Steps from column to column against steps from row to row; one gray level keeps flat photos at 0."""
    # Starts with the edge itself, since a photo of one row has no steps between rows.
    across, down = (np.abs(np.diff(gray, axis=axis, prepend=gray.take([0], axis))).mean(axis=(1, 2)) for axis in (2, 1))
    return np.asarray(np.log((across + 1) / (down + 1)))


def _second_differences(gray: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The Laplacian (edges), and its mixed cousin that edges cancel in and grain does not.

    The second is the kernel of J. Immerkær, "Fast noise variance estimation", 1996.
    """
    padded = np.pad(gray, ((0, 0), (1, 1), (1, 1)), mode="edge")
    down = padded[:, :-2] - 2 * padded[:, 1:-1] + padded[:, 2:]
    across = padded[:, :, :-2] - 2 * padded[:, :, 1:-1] + padded[:, :, 2:]
    laplacian = down[:, :, 1:-1] + across[:, 1:-1]
    grain = down[:, :, :-2] - 2 * down[:, :, 1:-1] + down[:, :, 2:]
    return laplacian, grain


class FeatureSummary:
    """Mean, spread, extremes and a histogram of each feature, over any number of photos, in constant memory.

    The histogram's bounds come from *baseline* [n, features]; values beyond count in the outermost buckets.
    """

    def __init__(self, baseline: Floats) -> None:
        # A feature that a model does not have is NaN in all of its baseline.
        known = np.where(np.isfinite(baseline), baseline, 0.0)
        low, high = known.min(axis=0), known.max(axis=0)
        self.edges: Floats = np.linspace(low, np.where(high > low, high, low + 1), BUCKETS + 1, axis=1)
        self.photos = 0
        self.features = [FeatureStatistics() for _ in FEATURES]

    def add(self, values: Floats) -> None:
        """Add the features *values* [n, features]; NaN counts as missing."""
        self.photos += len(values)
        for figures, column, inner in zip(self.features, values.T, self.edges[:, 1:-1], strict=True):
            figures.add(column[np.isfinite(column)], inner)


class FeatureStatistics:
    """The statistics of one feature."""

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
        """Add *values* [n]; *inner* are the bounds between the buckets."""
        if not len(values):
            return
        total = self.present + len(values)
        mean = float(values.mean())
        gap = mean - self.mean
        # Chan, Golub and LeVeque, 1979: sums of squares are joined without losing digits.
        self._squares += float(((values - mean) ** 2).sum()) + gap**2 * self.present * len(values) / total
        self.mean += gap * len(values) / total
        self.present = total
        self.least, self.most = min(self.least, float(values.min())), max(self.most, float(values.max()))
        self.counts += np.bincount(np.searchsorted(inner, values, side="right"), minlength=BUCKETS)
