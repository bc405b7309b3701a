"""Metrics: accuracy with its interval, scores per class, calibration and selective prediction."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scones.domain.statistics import Interval, wilson_interval
from scones.model.out_of_fold import label_columns

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class ClassScores:
    """The scores of one class; None where there is nothing to divide by."""

    label: str
    n: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True, slots=True)
class ClassificationMetrics:
    """The metrics of *n* labelled photos.

    *confusion* has a row for each true class and a column for each predicted one, in the order of *classes*.
    *ece* is the expected calibration error: how far confidence lies from accuracy, on average over 15 bins.
    *coverage* is the share of photos at or above *threshold*; *accuracy_covered* is None where there are none.
    *auc* is the area under the ROC curve, averaged one-against-rest over more than two classes; None with one class.
    *pr_auc* is the average precision of each class against the rest, averaged over the classes that are there.
    """

    n: int
    classes: tuple[str, ...]
    accuracy: float
    interval: Interval
    confusion: tuple[tuple[int, ...], ...]
    per_class: tuple[ClassScores, ...]
    ece: float
    threshold: float
    coverage: float
    accuracy_covered: float | None
    interval_covered: Interval | None
    auc: float | None
    pr_auc: float | None


def evaluate_predictions(
    labels: Sequence[str], probabilities: NDArray[np.floating], classes: Sequence[str], threshold: float
) -> ClassificationMetrics:
    """Compare *probabilities* [N, C], whose columns are *classes*, with the true *labels*.

    Raises:
        InvalidLabelledPredictions: no photos, an unknown label, a wrong shape, or probabilities that are not finite.
    """
    table = np.asarray(probabilities, dtype=np.float64)
    truth = label_columns(labels, table, classes)
    predicted, confidence = table.argmax(axis=1), table.max(axis=1)
    right = predicted == truth
    covered = confidence >= threshold
    confusion = _confusion(truth, predicted, len(classes))
    return ClassificationMetrics(
        n=len(truth),
        classes=tuple(classes),
        accuracy=float(right.mean()),
        interval=wilson_interval(int(right.sum()), len(truth)),
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
        per_class=tuple(_class_scores(confusion, index, label) for index, label in enumerate(classes)),
        ece=calibration_error(right, confidence),
        threshold=threshold,
        coverage=float(covered.mean()),
        accuracy_covered=float(right[covered].mean()) if covered.any() else None,
        interval_covered=wilson_interval(int(right[covered].sum()), int(covered.sum())) if covered.any() else None,
        auc=_auc(truth, table),
        pr_auc=_pr_auc(truth, table),
    )


def binary_auc(positive: NDArray[np.bool_], scores: Floats) -> float | None:
    """The chance that a positive scores above a negative, ties counting half; None without both kinds."""
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return None
    order = np.sort(scores)
    ranks = (np.searchsorted(order, scores, "left") + np.searchsorted(order, scores, "right") + 1) / 2
    return float((ranks[positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def average_precision(positive: NDArray[np.bool_], scores: Floats) -> float | None:
    """The area under the precision-recall curve as a sum of steps, ties taken together; None without positives."""
    if not positive.any():
        return None
    order = np.argsort(-scores, kind="stable")
    # A threshold accepts all photos of one score or none.
    last = np.append(np.diff(scores[order]) != 0, True)
    hits = np.cumsum(positive[order])[last]
    precision = hits / (np.flatnonzero(last) + 1)
    return float((np.diff(hits, prepend=0) * precision).sum() / positive.sum())


def _confusion(truth: Indices, predicted: Indices, classes: int) -> Indices:
    return np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)


def _class_scores(confusion: Indices, index: int, label: str) -> ClassScores:
    hits = int(confusion[index, index])
    actual, predicted = int(confusion[index].sum()), int(confusion[:, index].sum())
    return ClassScores(
        label=label,
        n=actual,
        precision=hits / predicted if predicted else None,
        recall=hits / actual if actual else None,
        f1=2 * hits / (actual + predicted) if actual + predicted else None,
    )


def _auc(truth: Indices, table: Floats) -> float | None:
    if table.shape[1] == 2:
        return binary_auc(truth == 1, table[:, 1])
    areas = [binary_auc(truth == column, table[:, column]) for column in range(table.shape[1])]
    known = [area for area in areas if area is not None]
    return float(np.mean(known)) if known else None


def _pr_auc(truth: Indices, table: Floats) -> float | None:
    areas = [average_precision(truth == column, table[:, column]) for column in range(table.shape[1])]
    known = [area for area in areas if area is not None]
    return float(np.mean(known)) if known else None


_BINS = 15
_CHANCE_ROUNDS = 500
_MAX_POINTS = 200

Flags = NDArray[np.bool_]


def calibration_error(right: Flags, confidence: Floats) -> float:
    """The expected calibration error over 15 equal bins of confidence, weighted by their photos."""
    bins = np.minimum((confidence * _BINS).astype(np.intp), _BINS - 1)
    gap = np.bincount(bins, weights=right.astype(np.float64) - confidence, minlength=_BINS)
    return float(np.abs(gap).sum() / len(right))


def error_by_chance(confidence: Floats, seed: int) -> float:
    """The calibration error that a perfectly calibrated model would show by chance, on average, at these confidences.

    At typical confidences that is about .035 on 200 photos and .019 on 800: a smaller error is no evidence against a
    model.
    """
    rng = np.random.default_rng(seed)
    drawn = (calibration_error(rng.random(len(confidence)) < confidence, confidence) for _ in range(_CHANCE_ROUNDS))
    return float(np.mean(list(drawn)))


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The photos in one bin of confidence: their mean confidence and their accuracy."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float
    interval: Interval


def reliability_bins(right: Flags, confidence: Floats) -> tuple[ReliabilityBin, ...]:
    """Put the predictions into 15 equal bins of confidence, those of the calibration error, without empty bins."""
    places = np.minimum((confidence * _BINS).astype(np.intp), _BINS - 1)
    return tuple(_bin(int(place), right[places == place], confidence[places == place]) for place in np.unique(places))


def undo_temperature(probabilities: NDArray[np.floating], temperature: float) -> Floats:
    """Undo temperature scaling: the probabilities of the same model without it, [N, C].

    Scaling divides log-probabilities by the temperature, so its inverse multiplies them by it.
    """
    logs = temperature * np.log(np.maximum(np.asarray(probabilities, np.float64), np.finfo(np.float64).tiny))
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _bin(place: int, right: Flags, confidence: Floats) -> ReliabilityBin:
    return ReliabilityBin(
        low=place / _BINS,
        high=(place + 1) / _BINS,
        n=len(right),
        confidence=float(confidence.mean()),
        accuracy=float(right.mean()),
        interval=wilson_interval(int(right.sum()), len(right)),
    )


@dataclass(frozen=True, slots=True)
class RiskCoveragePoint:
    """Accepting all predictions at or above *threshold*: their share, and the share of wrong ones among them."""

    threshold: float
    coverage: float
    risk: float


def risk_coverage(right: Flags, confidence: Floats) -> tuple[RiskCoveragePoint, ...]:
    """The risk-coverage curve, strictest first; photos of one confidence are accepted together.

    Source: R. El-Yaniv and Y. Wiener, "On the foundations of noise-free selective classification", 2010.
    """
    order = np.argsort(-confidence, kind="stable")
    last = np.append(np.diff(confidence[order]) != 0, True)
    accepted = np.flatnonzero(last) + 1
    wrong = np.cumsum(~right[order])[last]
    return tuple(
        RiskCoveragePoint(float(confidence[order][n - 1]), float(n / len(right)), float(k / n))
        for n, k in zip(accepted, wrong, strict=True)
    )


def accuracy_at(coverage: float, curve: tuple[RiskCoveragePoint, ...]) -> float:
    """The accuracy among the most confident predictions that make up at least this share of all (0 to 1)."""
    # A share such as 0.9 of 10 photos must not fail by a rounding error.
    return 1 - next(point.risk for point in curve if point.coverage >= coverage - 1e-9)


def thin_curve(curve: tuple[RiskCoveragePoint, ...]) -> tuple[RiskCoveragePoint, ...]:
    """At most 200 points, the first and last among them: a chart shows no more."""
    if len(curve) <= _MAX_POINTS:
        return curve
    places = np.linspace(0, len(curve) - 1, _MAX_POINTS).round().astype(int)
    return tuple(curve[place] for place in places)
