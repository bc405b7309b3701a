"""Comparison: two models on the same photos."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

SIGNIFICANCE = 0.05
"""A difference with a smaller p-value is significant."""
_MIN_SHOWN = 0.001

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ChangedPrediction:
    """A photo that the two models classify differently: what each predicted, with its confidence."""

    name: str
    truth: str
    ours: str
    our_confidence: float
    theirs: str
    their_confidence: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models on the same *n* photos.

    *p_value* is that of McNemar's exact test on the photos that only one of them has right. *changed* lists every
    photo with different predictions.
    """

    other: str
    n: int
    accuracy: float
    other_accuracy: float
    both_right: int
    only_ours: int
    only_theirs: int
    both_wrong: int
    p_value: float
    changed: tuple[ChangedPrediction, ...]

    @property
    def verdict(self) -> str:
        """One sentence on which is better, if the difference is significant."""
        split = f"{self.only_ours} photos only this model has right, {self.only_theirs} only the other"
        chance = f"p = {self.p_value:.2g}" if self.p_value >= _MIN_SHOWN else f"p < {_MIN_SHOWN:g}"
        if self.p_value >= SIGNIFICANCE:
            return f"no significant difference: {split} ({chance})"
        better = "this model" if self.only_ours > self.only_theirs else "the other model"
        return f"{better} is better: {split} ({chance})"


def compare(
    photos: Sequence[tuple[str, str]], ours: Floats, theirs: Floats, classes: Sequence[str], other: str
) -> Comparison:
    """Compare probabilities [N, C] of two models on *photos*, each a name and its true class.

    Source: Q. McNemar, 1947; the exact form is the two-sided binomial test of the pairs that differ.
    """
    truth = np.array([classes.index(label) for _, label in photos])
    right, right_too = ours.argmax(axis=1) == truth, theirs.argmax(axis=1) == truth
    only_ours, only_theirs = int((right & ~right_too).sum()), int((~right & right_too).sum())
    return Comparison(
        other=other,
        n=len(photos),
        accuracy=float(right.mean()),
        other_accuracy=float(right_too.mean()),
        both_right=int((right & right_too).sum()),
        only_ours=only_ours,
        only_theirs=only_theirs,
        both_wrong=int((~right & ~right_too).sum()),
        p_value=mcnemar(only_ours, only_theirs),
        changed=tuple(
            _difference(photos[index], ours[index], theirs[index], classes)
            for index in np.flatnonzero(ours.argmax(axis=1) != theirs.argmax(axis=1)).tolist()
        ),
    )


def mcnemar(one: int, other: int) -> float:
    """The exact two-sided p-value of two counts that would be equal but for chance; 1 where both are 0."""
    # Both tails of a fair coin: the distribution is symmetric, and the middle counts in both.
    return min(1.0, 2 * float(special.bdtr(min(one, other), one + other, 0.5)))


def _difference(photo: tuple[str, str], ours: Floats, theirs: Floats, classes: Sequence[str]) -> ChangedPrediction:
    name, truth = photo
    return ChangedPrediction(
        name=name,
        truth=truth,
        ours=classes[int(ours.argmax())],
        our_confidence=float(ours.max()),
        theirs=classes[int(theirs.argmax())],
        their_confidence=float(theirs.max()),
    )
