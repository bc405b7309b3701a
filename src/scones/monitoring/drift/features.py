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
    "colour_grain",
    "richest_colour",
    "content_1",
    "content_2",
    "content_3",
    "content_4",
    "ood_score",
)
"""The columns of every table of features, in this order; a column that could not be measured is all NaN."""

PREDICTION_FEATURES = frozenset({"log_odds", "certainty", "ood_score"})
"""The features that depend on the model's head; the others depend on the photo alone."""

CONTENT_FEATURES = tuple(name for name in FEATURES if name.startswith("content_"))
"""What the photo shows, beyond its class: principal components of the backbone's features, which training chooses."""

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
        "colour_grain": "grain of the colours (log gray levels)",
        "richest_colour": "the most saturated pixels (share of full colour)",
        **dict.fromkeys(CONTENT_FEATURES, "what the photo shows, beyond its class (standard deviations)"),
        "ood_score": "out-of-distribution score of the model",
    }
)
"""The meaning of each feature, with its unit."""

OOD_QUANTILE = 0.9
"""OOD scores below this quantile of the baseline are clipped: only the upper tail is compared."""

_EARLIER_NAMES = {"unfamiliarity": "ood_score"}
ADDED_FEATURES = frozenset({"colour_grain", "richest_colour", *CONTENT_FEATURES})
"""Features that baselines and traffic of earlier releases lack."""

# float32 saturates at 0 and 1; a floor keeps the logarithm finite without changing any real prediction.
_FLOOR = 1e-5
BUCKETS = 10
"""Of the histograms; as many as Model Monitor has."""
_CHUNK_PHOTOS = 256
_CONTENT = FEATURES.index(CONTENT_FEATURES[0])
_BLACK, _BURNT = 2, 253
_ALL_BUT_FEW = 0.999

Photos = NDArray[np.uint8]


def current_names(names: Iterable[str]) -> tuple[str, ...]:
    """Translate feature names that files of earlier releases contain."""
    return tuple(_EARLIER_NAMES.get(name, name) for name in names)


def current_columns(values: Floats, names: Iterable[str]) -> Floats:
    """Give a table of an earlier release, whose columns have these *names*, this release's columns.

    Features that it did not measure are NaN.

    Raises:
        ValueError: it has a column that is unknown, missing before, or there twice.
    """
    found = current_names(names)
    if found == FEATURES:
        return values
    if found != tuple(name for name in FEATURES if name not in ADDED_FEATURES or name in found):
        raise ValueError(f"its features are {', '.join(found)[:200]}, not {', '.join(FEATURES)}")
    table = np.full((len(values), len(FEATURES)), np.nan)
    table[:, [FEATURES.index(name) for name in found]] = values
    return table


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
    photos: Photos,
    probabilities: NDArray[np.floating],
    ood_score: NDArray[np.floating] | None = None,
    content: Floats | None = None,
) -> Floats:
    """Measure every photo: uint8 [N, H, W, 3] RGB and [N, C] probabilities give [N, len(FEATURES)].

    With two classes the first feature is the log-odds of the second class; with more, of the likeliest one. The
    endpoint's response contains neither the *ood_score* [N] nor the *content*, [N, len(CONTENT_FEATURES)]; both come
    from the model's further outputs.

    Raises:
        InvalidMeasurement: wrong shapes, or probabilities that are not finite.
    """
    _check_shapes(photos, probabilities)
    table = np.empty((len(photos), len(FEATURES)))
    for start in range(0, len(photos), _CHUNK_PHOTOS):
        rows = slice(start, start + _CHUNK_PHOTOS)
        table[rows, :_CONTENT] = np.column_stack(
            [_prediction_features(probabilities[rows]), _pixel_features(photos[rows])]
        )
    table[:, _CONTENT:-1] = np.nan if content is None else content
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
    """Columns: the twelve features of the pixels."""
    colour = photos.astype(np.float32)
    gray = colour.mean(axis=3)
    laplacian, grain = _second_differences(gray)
    brightest = colour.max(axis=3)
    width = brightest - colour.min(axis=3)
    rows, columns = max(1, gray.shape[1] // 4), max(1, gray.shape[2] // 4)
    return np.column_stack(
        [
            gray.mean(axis=(1, 2)),
            gray.std(axis=(1, 2)),
            np.log1p(laplacian.var(axis=(1, 2))),
            np.log1p(width.mean(axis=(1, 2))),
            (colour[..., 0] - colour[..., 2]).mean(axis=(1, 2)),
            ((photos <= _BLACK) | (photos >= _BURNT)).mean(axis=(1, 2, 3)),
            np.log1p(np.abs(grain).mean(axis=(1, 2))),
            gray[:, :rows].mean(axis=(1, 2)) - gray[:, -rows:].mean(axis=(1, 2)),
            gray[:, :, :columns].mean(axis=(1, 2)) - gray[:, :, -columns:].mean(axis=(1, 2)),
            _orientation(gray),
            np.log1p(np.mean([_grain_of(colour[..., each] - gray) for each in range(3)], axis=0)),
            _upper_end(width / np.maximum(brightest, 1)),
        ]
    ).astype(np.float64)


def _orientation(gray: NDArray[np.float32]) -> NDArray[np.float32]:
    """Steps from column to column against steps from row to row; one gray level keeps flat photos at 0."""
    # Starts with the edge itself, since a photo of one row has no steps between rows.
    across, down = (np.abs(np.diff(gray, axis=axis, prepend=gray.take([0], axis))).mean(axis=(1, 2)) for axis in (2, 1))
    return np.asarray(np.log((across + 1) / (down + 1)))


def _grain_of(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.abs(_second_differences(values)[1]).mean(axis=(1, 2)))


def _upper_end(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """What one in a thousand pixels exceeds; a single one may be a defect."""
    flat = values.reshape(len(values), -1)
    place = int(_ALL_BUT_FEW * (flat.shape[1] - 1))
    return np.asarray(np.partition(flat, place, axis=1)[:, place])


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


_SAMPLE_PHOTOS = 1000
"""Of more training photos, an even selection shows in which directions their content varies."""


@dataclass(frozen=True, slots=True)
class ContentDirections:
    """The directions in which the backbone's features of the training photos vary most, whatever the class.

    *mean* [F] is subtracted from features [N, F]; *directions* are [F, len(CONTENT_FEATURES)], scaled so that the
    training photos have unit variance along each.
    """

    mean: NDArray[np.float32]
    directions: NDArray[np.float32]

    @classmethod
    def of(cls, features: NDArray[np.floating], labels: NDArray[np.integer]) -> "ContentDirections":
        """Find them in the features [n, F] of training photos with these *labels* [n].

        What tells the classes' means apart is left out: another class mix is no other content.
        """
        some = np.arange(len(labels))[:: -(-len(labels) // _SAMPLE_PHOTOS)]
        rows, classes = _unit(features[some]), labels[some]
        mean = rows.mean(axis=0)
        between = np.stack([rows[classes == label].mean(axis=0) - mean for label in np.unique(classes)])
        kept = np.linalg.svd(between, full_matrices=False)
        apart = kept[2][kept[1] > _TINY]
        centred = rows - mean
        centred -= centred @ apart.T @ apart
        vectors = np.linalg.svd(centred, full_matrices=False)[2]
        found = np.zeros((rows.shape[1], len(CONTENT_FEATURES)))
        leading = vectors[: len(CONTENT_FEATURES)].T
        spread = (centred @ leading).std(axis=0)
        signs = np.sign(leading[np.abs(leading).argmax(axis=0), np.arange(leading.shape[1])])
        found[:, : leading.shape[1]] = np.where(spread > _FLAT, leading * signs / np.maximum(spread, _FLAT), 0)
        return cls(mean.astype(np.float32), found.astype(np.float32))

    def measure(self, features: NDArray[np.floating]) -> Floats:
        """Measure the content [N, len(CONTENT_FEATURES)] of photos with these features of the backbone [N, F]."""
        return np.asarray((_unit(features) - self.mean) @ self.directions.astype(np.float64))


_FLAT = 1e-6
"""Along a direction with less spread, features of length 1 do not vary."""


def _unit(features: NDArray[np.floating]) -> Floats:
    rows = np.asarray(features, np.float64)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), _TINY))
