"""Sampling plan: which photos people label next, some to measure the accuracy and others to teach the next model.

The measuring share is drawn at random, every photo with the same chance, and is never trained on: accuracy on it is
unbiased, and so is the comparison of two models. The learning share is chosen: photos that the model is unsure of, from
where there are many of them, and unlike each other (F. Zhdanov, "Diverse mini-batch active learning", 2019). It says
nothing about the accuracy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scones.data.labels import Purpose
from scones.domain.errors import MonitoringError
from scones.monitoring.performance.labels import LabelledAccuracy, LabelSample, corrected_accuracy

MEASURED_SHARE: Final = 0.5
"""The share of the labels that measure: with fewer, a better model could not be told from a lucky one."""
_CANDIDATES = 10
"""Photos to choose from, for each one that is chosen: the model is less sure of them than of the others."""
_ROUNDS = 10
_SURE = 0.02
"""The weight of a photo that the model is sure of: it may be wrong."""

Floats = NDArray[np.floating]
Places = NDArray[np.intp]


class CannotPlan(MonitoringError):
    """The photos' probabilities or features cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class PlannedPhoto:
    """A photo to label, by its place, for what, and the probability with which it was chosen for that."""

    place: int
    purpose: Purpose
    chance: float


def plan(probabilities: Floats, features: Floats, count: int, seed: int = 0) -> tuple[PlannedPhoto, ...]:
    """Choose *count* photos to label, or all if there are no more, in the order of their places.

    *probabilities* [N, C] are the model's; *features* [N, F] are what it saw in the photos, or the probabilities again.
    The same arguments give the same plan.

    Raises:
        CannotPlan: the two do not fit together, or are not finite.
    """
    _check(probabilities, features)
    photos = len(probabilities)
    count = max(0, min(count, photos))
    measured = int(np.ceil(MEASURED_SHARE * count))
    rng = np.random.default_rng(seed)
    to_measure = rng.choice(photos, measured, replace=False)
    others = np.setdiff1d(np.arange(photos), to_measure)
    learnt = others[informative(probabilities[others], features[others], count - measured, rng)]
    chosen = [PlannedPhoto(place, Purpose.MEASURE, measured / photos) for place in to_measure.tolist()]
    chosen += [PlannedPhoto(place, Purpose.LEARN, 1.0) for place in learnt.tolist()]
    return tuple(sorted(chosen, key=lambda photo: photo.place))


def measured_accuracy(
    confidence: NDArray[np.float64], planned: Sequence[PlannedPhoto], right: Sequence[bool]
) -> LabelledAccuracy:
    """The accuracy on all photos that a plan chose from, with its 90% interval.

    *confidence* [N] is the model's on all of them; *right* says of each of these photos, those that people labelled,
    whether its prediction was right. Only the measuring share counts.

    Raises:
        InvalidLabels: fewer than two labels of the measuring share.
    """
    share = [(photo.place, each) for photo, each in zip(planned, right, strict=True) if _measures(photo)]
    # As if only the labelled ones had been drawn: a person may skip some.
    sample = LabelSample(
        np.array([place for place, _ in share], np.intp), np.full(len(share), len(share)) / len(confidence)
    )
    return corrected_accuracy(confidence, sample, np.array([each for _, each in share], bool))


def informative(probabilities: Floats, features: Floats, count: int, rng: np.random.Generator) -> Places:
    """The places of *count* photos that teach most: one of each cluster of unsure photos, the one in its middle."""
    if count < 1:
        return np.zeros(0, np.intp)
    unsure = _unsureness(probabilities)
    # In random order where the model is as unsure of one as of the other; copies of a photo come last.
    order = rng.permutation(len(unsure))
    order = order[np.argsort(-unsure[order], kind="stable")]
    candidates = order[np.argsort(_copies(features[order]), kind="stable")][: _CANDIDATES * count]
    points = np.asarray(features[candidates], np.float64)
    # Without what all photos have in common, directions tell how they differ.
    points = points - points.mean(axis=0)
    points = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    weights = unsure[candidates]
    nearest = _clusters(points, weights, min(count, len(points)), rng)
    return np.asarray(candidates[nearest])


def _measures(photo: PlannedPhoto) -> bool:
    return photo.purpose is Purpose.MEASURE


def _check(probabilities: Floats, features: Floats) -> None:
    if probabilities.ndim != 2 or features.ndim != 2 or len(probabilities) != len(features):
        raise CannotPlan(f"probabilities are {probabilities.shape}, features {features.shape}: give a row per photo")
    if not (np.isfinite(probabilities).all() and np.isfinite(features).all()):
        raise CannotPlan("some probabilities or features are not finite; leave those photos out")


def _unsureness(probabilities: Floats) -> NDArray[np.float64]:
    """One less the lead of the likeliest class over the next, [N]."""
    if probabilities.shape[1] < 2:
        return np.ones(len(probabilities))
    second, first = np.sort(probabilities, axis=1)[:, -2:].T
    return np.asarray(np.maximum(1 - (first - second), _SURE), np.float64)


def _copies(features: Floats) -> NDArray[np.bool_]:
    """Which rows are the same as an earlier one, [N]."""
    seen: dict[bytes, int] = {}
    return np.array([seen.setdefault(row.tobytes(), place) != place for place, row in enumerate(features)], bool)


def _clusters(
    points: NDArray[np.float64], weights: NDArray[np.float64], count: int, rng: np.random.Generator
) -> Places:
    """The point nearest to the center of each of *count* clusters, by weighted k-means; no point twice."""
    centers = points[_spread(points, weights, count, rng)]
    for _ in range(_ROUNDS):
        cluster = _distances(points, centers).argmin(axis=1)
        members = np.eye(count)[cluster] * weights[:, None]
        mass = members.sum(axis=0)
        # A cluster without points, as of copies of one photo, stays where it is.
        moved = (members.T @ points) / np.maximum(mass, 1e-12)[:, None]
        centers = np.where(mass[:, None] > 0, moved, centers)
    distances, chosen = _distances(points, centers), []
    for center in range(count):
        place = int(distances[:, center].argmin())
        distances[place] = np.inf
        chosen.append(place)
    return np.array(chosen, np.intp)


def _spread(points: NDArray[np.float64], weights: NDArray[np.float64], count: int, rng: np.random.Generator) -> Places:
    """Different points to start from, far from each other rather than near: weighted k-means++."""
    chosen = [int(weights.argmax())]
    left = weights.copy()
    left[chosen] = 0
    closest = np.full(len(points), np.inf)
    while len(chosen) < count:
        closest = np.minimum(closest, _distances(points, points[chosen[-1:]])[:, 0])
        # Copies of chosen points come last.
        odds = left * np.maximum(closest, 1e-12)
        chosen.append(int(rng.choice(len(points), p=odds / odds.sum())))
        left[chosen] = 0
    return np.array(chosen, np.intp)


def _distances(points: NDArray[np.float64], centers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared distances, [points, centers]."""
    squares = (points**2).sum(axis=1)[:, None] + (centers**2).sum(axis=1) - 2 * points @ centers.T
    return np.asarray(np.maximum(squares, 0))
