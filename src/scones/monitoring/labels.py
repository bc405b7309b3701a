"""When labels arrive: the exact figure, a better one for all photos, and which photos to label next; pure.

Labels of a few photos correct the model's own confidence on all of them: prediction-powered inference (A. Angelopoulos
et al., 2023, with the tuning of PPI++). Photos are chosen by chance, the unsure ones more often, so that the answer
stays unbiased and its interval narrows (active inference: T. Zrnic and E. Candès, 2024).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scones.domain.errors import SconesError

_Z = 1.6448536269514722
"""Two-sided 90%, as all intervals here."""
_EVEN_SHARE = 0.3
"""How much of the choice is even: where confidence is wrong, a photo that it holds for certain must have a chance."""
TO_LABEL: Final = 30
"""So many photos are to be labelled at a time."""
FEWEST = 2
"""Fewer chosen photos with a label say nothing of the others."""

Floats = NDArray[np.float64]
Places = NDArray[np.intp]


class BadLabels(SconesError):
    """The labels do not fit the photos."""


@dataclass(frozen=True, slots=True)
class Figure:
    """An accuracy and its 90% interval, and from how many labels."""

    accuracy: float
    low: float
    high: float
    labels: int


@dataclass(frozen=True, slots=True)
class Choice:
    """Photos to label, by place, and the chance that each had of being chosen."""

    photos: Places
    chances: Floats


def exact(right: NDArray[np.bool_]) -> Figure:
    """Give the accuracy on labelled photos, with Wilson's interval.

    Raises:
        BadLabels: no labels.
    """
    count = len(right)
    if not count:
        raise BadLabels("no labels have arrived; label some photos first")
    share = float(right.mean())
    middle = (share + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    half = _Z / (1 + _Z**2 / count) * np.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    return Figure(share, max(0.0, float(middle - half)), min(1.0, float(middle + half)), count)


def choose(confidence: Floats, count: int, seed: int = 0) -> Choice:
    """Choose *count* of the photos to label next, given the model's confidence [n]; all, if there are no more."""
    chances = _chances(confidence, min(count, len(confidence)))
    rng = np.random.default_rng(seed)
    # Systematic sampling in random order: each photo has its chance, and the number is exact.
    order = rng.permutation(len(chances))
    marks = np.floor(np.cumsum(chances[order]) + rng.random() + 1e-9)
    chosen = np.sort(order[np.diff(marks, prepend=0) > 0])[: min(count, len(confidence))]
    return Choice(chosen, chances[chosen])


def correct(confidence: Floats, choice: Choice, right: NDArray[np.bool_]) -> Figure:
    """Estimate the accuracy on all photos from their confidence [n] and the labels of the chosen ones.

    Raises:
        BadLabels: not one label for each chosen photo, or fewer than two.
    """
    count, photos = len(choice.photos), len(confidence)
    if len(right) != count or count < FEWEST:
        raise BadLabels(f"{len(right)} labels for {count} chosen photos; give one for each, of two or more")
    weights = count / (photos * choice.chances)
    believed = confidence[choice.photos]
    trust = _trust(weights * right, weights * believed)
    residuals = weights * (right - trust * believed)
    accuracy = trust * confidence.mean() + residuals.mean()
    # Labelled photos without replacement: with all of them labelled nothing is left to chance.
    variance = residuals.var(ddof=1) / count * (1 - count / photos)
    half = _Z * np.sqrt(variance + FEWEST / photos**2)
    low, middle, high = np.clip([accuracy - half, accuracy, accuracy + half], 0, 1).tolist()
    return Figure(middle, low, high, count)


def _chances(confidence: Floats, count: int) -> Floats:
    """Chances that add up to *count*: larger where the answer is as likely wrong as right, none above 1."""
    unsure = np.sqrt(np.clip(confidence * (1 - confidence), 0, None))
    wish = (1 - _EVEN_SHARE) * unsure / max(unsure.mean(), 1e-9) + _EVEN_SHARE if len(unsure) else unsure
    if count >= len(wish):
        return np.ones(len(wish))
    certain = np.zeros(len(wish), dtype=bool)
    while True:
        left = count - certain.sum()
        chances = np.where(certain, 1.0, wish * left / wish[~certain].sum())
        if (chances <= 1).all():
            return np.asarray(chances)
        certain |= chances > 1


def _trust(right: Floats, believed: Floats) -> float:
    """How far confidence goes with being right, between 0 (ignore it) and 1."""
    spread = believed.var()
    return float(np.clip(np.cov(right, believed, ddof=0)[0, 1] / spread, 0, 1)) if spread > 0 else 0.0
