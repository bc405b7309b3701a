"""Comparison: two models on the same photos, and the int8 model against the float32 one."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

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


_BATCH: Final = 64
_ROUNDS: Final = 7
_CALLS: Final = 100
"""Seven hundred photos for each model: half a second at 32 pixels a side."""

PredictPixels = Callable[[NDArray[np.uint8]], NDArray[np.floating]]
"""Give the probabilities [N, C], perhaps with more columns behind them, of photos uint8 [N, H, W, 3]."""


@dataclass(frozen=True, slots=True)
class Int8Comparison:
    """The int8 and the float32 ("exact") model on the same *n* photos; *served* says whether int8 serves.

    *difference* is the accuracy of int8 less that of the exact one. The milliseconds are CPU time for one photo
    alone on one thread; *times_faster* is their quotient.
    """

    n: int
    served: bool
    accuracy: float
    exact_accuracy: float
    difference: float
    changed: int
    """Photos that the two classify differently."""
    milliseconds: float
    exact_milliseconds: float
    times_faster: float


@dataclass(frozen=True, slots=True)
class ModelPair:
    """The two models of one model file, and whether int8 serves."""

    exact: PredictPixels
    int8: PredictPixels
    served: bool


def compare_int8(pair: ModelPair, photos: NDArray[np.uint8], truth: NDArray[np.intp], classes: int) -> Int8Comparison:
    """Run both models on *photos*, uint8 [N, H, W, 3], whose classes are *truth* [N]."""
    exact, int8 = (_classes(answer, photos, classes) for answer in (pair.exact, pair.int8))
    right, exactly = float((int8 == truth).mean()), float((exact == truth).mean())
    # In turn, so that a busy moment does not slow only one of them.
    slow, fast = _cpu_milliseconds((pair.exact, pair.int8), photos)
    return Int8Comparison(
        n=len(photos),
        served=pair.served,
        accuracy=right,
        exact_accuracy=exactly,
        difference=right - exactly,
        changed=int((int8 != exact).sum()),
        milliseconds=fast,
        exact_milliseconds=slow,
        times_faster=slow / fast,
    )


def _classes(answer: PredictPixels, photos: NDArray[np.uint8], classes: int) -> NDArray[np.intp]:
    tables = [answer(photos[start : start + _BATCH])[:, :classes] for start in range(0, len(photos), _BATCH)]
    return np.asarray(np.concatenate(tables).argmax(axis=1))


def _cpu_milliseconds(answers: tuple[PredictPixels, PredictPixels], photos: NDArray[np.uint8]) -> tuple[float, float]:
    """CPU time of each for a single photo: the best of some rounds, which other programs disturb the least."""
    best = [float("inf"), float("inf")]
    for _ in range(_ROUNDS):
        for place, answer in enumerate(answers):
            started = time.process_time()
            for number in range(_CALLS):
                answer(photos[number % len(photos)][np.newaxis])
            best[place] = min(best[place], 1000 * (time.process_time() - started) / _CALLS)
    return best[0], best[1]
