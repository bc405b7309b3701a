"""Whole numbers: what the int8 model loses against the one in float32, and how much less work it is."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

_BATCH: Final = 64
_ROUNDS: Final = 7
_CALLS: Final = 100
"""Seven hundred photos a model: half a second at 32 pixels a side."""

Answer = Callable[[NDArray[np.uint8]], NDArray[np.floating]]
"""Give the probabilities [N, C], or more columns behind them, of photos uint8 [N, H, W, 3]."""


@dataclass(frozen=True, slots=True)
class WholeNumbers:
    """The int8 and the exact model on the same *n* photos; *served* says whether int8 is the one that answers.

    *difference* is the accuracy of int8 less that of the exact one. The milliseconds are a processor's, for one photo
    asked alone on one thread; *times_faster* is their quotient.
    """

    n: int
    served: bool
    accuracy: float
    exact_accuracy: float
    difference: float
    changed: int
    """Photos that the two answer otherwise."""
    milliseconds: float
    exact_milliseconds: float
    times_faster: float


@dataclass(frozen=True, slots=True)
class Pair:
    """The two models of one model file, and whether int8 is served."""

    exact: Answer
    int8: Answer
    served: bool


def compare_int8(pair: Pair, photos: NDArray[np.uint8], truth: NDArray[np.intp], classes: int) -> WholeNumbers:
    """Ask both models about *photos*, uint8 [N, H, W, 3], whose classes are *truth* [N]."""
    exact, int8 = (_classes(answer, photos, classes) for answer in (pair.exact, pair.int8))
    right, exactly = float((int8 == truth).mean()), float((exact == truth).mean())
    # In turn, so that a busy minute does not fall on one of them.
    slow, fast = _milliseconds((pair.exact, pair.int8), photos)
    return WholeNumbers(
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


def _classes(answer: Answer, photos: NDArray[np.uint8], classes: int) -> NDArray[np.intp]:
    tables = [answer(photos[start : start + _BATCH])[:, :classes] for start in range(0, len(photos), _BATCH)]
    return np.asarray(np.concatenate(tables).argmax(axis=1))


def _milliseconds(answers: tuple[Answer, Answer], photos: NDArray[np.uint8]) -> tuple[float, float]:
    """Each one's processor time for a photo alone: the best of some rounds, which others disturb the least."""
    best = [float("inf"), float("inf")]
    for _ in range(_ROUNDS):
        for place, answer in enumerate(answers):
            started = time.process_time()
            for number in range(_CALLS):
                answer(photos[number % len(photos)][np.newaxis])
            best[place] = min(best[place], 1000 * (time.process_time() - started) / _CALLS)
    return best[0], best[1]
