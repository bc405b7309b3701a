"""Thresholds: the confidence below which asking a person is cheaper than routing, and what can be guaranteed of it.

The guarantee is "learn then test" with a binomial tail and fixed sequences (A. Angelopoulos et al., 2021): among photos
like those given, at most a share of the accepted answers is wrong, except with a small probability over which photos
were given. It needs no assumption on the model, only that the photos were drawn alike; docs/adr/0017.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

GRID: Final = (*(round(0.05 + 0.01 * step, 2) for step in range(95)), 0.995, 0.998, 0.999)
"""The thresholds that may be chosen. Fixed beforehand: a grid made from the answers would void the guarantee."""
STARTS: Final = (0.998, 0.98, 0.95, 0.9)
"""Where the sequences of tests begin; each is given an equal part of the doubt and walks towards lower thresholds."""

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Costs:
    """What one wrong route and one review by a person cost, in dollars."""

    wrong_route: float
    review: float


@dataclass(frozen=True, slots=True)
class Wish:
    """At most *max_error* of the accepted answers wrong, except with probability *doubt*."""

    max_error: float
    doubt: float

    @property
    def photos_needed(self) -> int:
        """How many accepted answers, all right, it takes to certify one of the starts."""
        return int(np.ceil(np.log(self.doubt / len(STARTS)) / np.log1p(-self.max_error)))


@dataclass(frozen=True, slots=True)
class At:
    """One threshold on *n* photos. *error* is the share of wrong ones among the accepted; None without any."""

    threshold: float
    n: int
    accepted: int
    wrong: int
    coverage: float
    error: float | None
    dollars_per_1000: float


@dataclass(frozen=True, slots=True)
class Choice:
    """The cheapest threshold of all, the cheapest that is certified (None where none is), and every one looked at.

    *bound* is the share of wrong answers among the accepted that *cheapest* keeps to, except with the wish's doubt:
    the best that these photos can promise of it.
    """

    cheapest: At
    certified: At | None
    certified_count: int
    bound: float
    curve: tuple[At, ...]

    @property
    def best(self) -> At:
        """The certified one, or the cheapest where nothing could be certified."""
        return self.certified or self.cheapest


def choose(right: Flags, confidence: Floats, costs: Costs, wish: Wish) -> Choice:
    """Choose a threshold by the expected cost on photos whose truth is known, *right* [N] and *confidence* [N]."""
    curve = _counts(GRID, right, confidence, costs)
    sure = set(certified(curve, wish))
    cheapest = _cheapest(curve)
    allowed = tuple(point for point in curve if point.threshold in sure)
    return Choice(
        cheapest=cheapest,
        certified=_cheapest(allowed) if allowed else None,
        certified_count=len(allowed),
        bound=_upper_bound(cheapest.wrong, cheapest.accepted, wish.doubt / len(GRID)),
        curve=curve,
    )


def at(threshold: float, right: Flags, confidence: Floats, costs: Costs) -> At:
    """Count what a threshold would have done."""
    return _counts((threshold,), right, confidence, costs)[0]


def dollars(threshold: float, right: Flags, confidence: Floats, costs: Costs) -> Floats:
    """What each photo costs at a threshold: a review below it, a wrong route if accepted and wrong, else nothing."""
    return np.where(confidence < threshold, costs.review, np.where(right, 0.0, costs.wrong_route))


def certified(curve: Sequence[At], wish: Wish) -> Iterator[float]:
    """Give the thresholds of which the wish is proved, all of them at once.

    From each start the thresholds are tested downwards until one fails: that order is fixed, so no correction for
    their number is due. What a sequence finds after its first failure does not count.
    """
    levels = [point.threshold for point in curve]
    passed = _chances(curve, wish.max_error) <= wish.doubt / len(STARTS)
    found: set[float] = set()
    for start in STARTS:
        place = levels.index(start)
        while place >= 0 and passed[place]:
            found.add(levels[place])
            place -= 1
    yield from sorted(found)


def _counts(thresholds: Sequence[float], right: Flags, confidence: Floats, costs: Costs) -> tuple[At, ...]:
    order = np.argsort(confidence)
    wrong_below = np.concatenate([[0], np.cumsum(~right[order])])
    below = np.searchsorted(confidence[order], thresholds, side="left")
    n = len(right)
    return tuple(
        _at(threshold, n, n - int(place), int(wrong_below[-1] - wrong_below[place]), costs)
        for threshold, place in zip(thresholds, below, strict=True)
    )


def _at(threshold: float, n: int, accepted: int, wrong: int, costs: Costs) -> At:
    return At(
        threshold=threshold,
        n=n,
        accepted=accepted,
        wrong=wrong,
        coverage=accepted / n,
        error=wrong / accepted if accepted else None,
        dollars_per_1000=1000 * (wrong * costs.wrong_route + (n - accepted) * costs.review) / n,
    )


def _chances(curve: Sequence[At], max_error: float) -> Floats:
    """The chance, at each threshold, of so few wrong answers if *max_error* of them or more were wrong."""
    wrong, accepted = [point.wrong for point in curve], [point.accepted for point in curve]
    return np.asarray(special.bdtr(wrong, accepted, max_error))


def _upper_bound(wrong: int, accepted: int, doubt: float) -> float:
    """The share that is exceeded only with probability *doubt* (C. Clopper and E. Pearson, 1934)."""
    return float(special.betaincinv(wrong + 1, accepted - wrong, 1 - doubt)) if wrong < accepted else 1.0


def _cheapest(curve: tuple[At, ...]) -> At:
    # Of two that cost the same, the stricter routes fewer orders wrongly.
    return min(curve, key=lambda point: (point.dollars_per_1000, -point.threshold))
