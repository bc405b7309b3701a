"""Thresholds: the cheapest for given costs and risk target, and how it holds on data that did not choose it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from scones.model.out_of_fold import ScoredPredictions

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


HALVINGS: Final = 100
"""How often the test photos are halved where there are no out-of-fold answers."""
_RESAMPLES: Final = 2000
_LEVELS: Final = (2.5, 97.5)

Source = Literal["out_of_fold", "halves"]


@dataclass(frozen=True, slots=True)
class Terms:
    """What the threshold is chosen for: the *current* one, the costs, the wish, and the seed of what is drawn."""

    current: float
    costs: Costs
    wish: Wish
    seed: int


@dataclass(frozen=True, slots=True)
class Saving:
    """What the chosen threshold saves against the current one, in dollars a 1,000 photos, with a 95% interval."""

    dollars_per_1000: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ThresholdTrial:
    """A threshold chosen on *photos* of *source*, and how it and the current one did on other photos.

    *source* is `out_of_fold`, or `halves`: then the choice was made on one half of the test photos and tried on the
    other, HALVINGS times, *now*, *then* and *saving* are means and percentiles over these, and *choice* is the one
    made on all test photos.
    """

    source: Source
    photos: int
    terms: Terms
    choice: Choice
    now: At
    then: At
    saving: Saving
    guaranteed: bool
    """Whether the wish is proved of the chosen threshold."""
    promise: str
    """One sentence on what is certain of the chosen threshold."""


def try_threshold(known: ScoredPredictions, test: ScoredPredictions, terms: Terms) -> ThresholdTrial:
    """Choose on the out-of-fold answers, and report on the test photos."""
    choice = choose(known.right, known.confidence, terms.costs, terms.wish)
    then = choice.best.threshold
    saved = _saved(test, terms, then)
    rng = np.random.default_rng(terms.seed)
    means = [1000 * rng.choice(saved, len(saved)).mean() for _ in range(_RESAMPLES)]
    low, high = (float(value) for value in np.percentile(means, _LEVELS))
    return ThresholdTrial(
        source="out_of_fold",
        photos=len(known.right),
        terms=terms,
        choice=choice,
        now=at(terms.current, test.right, test.confidence, terms.costs),
        then=at(then, test.right, test.confidence, terms.costs),
        saving=Saving(1000 * float(saved.mean()), low, high),
        guaranteed=choice.certified is not None,
        promise=promise(choice, terms.wish),
    )


def try_on_halves(test: ScoredPredictions, terms: Terms) -> ThresholdTrial:
    """Choose on one half of the test photos and report on the other, many times; then choose on all of them."""
    rng = np.random.default_rng(terms.seed)
    halves = [_half(test, rng.permutation(len(test.right)), terms) for _ in range(HALVINGS)]
    savings = [now.dollars_per_1000 - then.dollars_per_1000 for now, then in halves]
    low, high = (float(value) for value in np.percentile(savings, _LEVELS))
    choice = choose(test.right, test.confidence, terms.costs, terms.wish)
    return ThresholdTrial(
        source="halves",
        photos=len(test.right),
        terms=terms,
        choice=choice,
        now=_mean([now for now, _ in halves]),
        then=_mean([then for _, then in halves], choice.best.threshold),
        saving=Saving(float(np.mean(savings)), low, high),
        guaranteed=choice.certified is not None,
        promise=promise(choice, terms.wish),
    )


def promise(choice: Choice, wish: Wish) -> str:
    """Say in one sentence what is certain of the chosen threshold, or why nothing like the wish is."""
    sure, n = f"{1 - wish.doubt:.0%} confidence", choice.best.n
    if choice.certified:
        return f"at most {wish.max_error:.1%} of routed photos are wrong, with {sure} ({n:,} photos)"
    # Too few photos are a matter of patience; enough of them and no promise, of a better model.
    why = f"it takes {wish.photos_needed} sure and right answers or more"
    if n >= wish.photos_needed:
        why = "its sure answers are not right often enough, or too few"
    return (
        f"no threshold can promise on {n:,} photos, with {sure}, that at most {wish.max_error:.1%} of routed photos "
        f"are wrong: {why}. Of the cheapest, {choice.cheapest.threshold:g}, they promise at most {choice.bound:.1%}"
    )


def _half(test: ScoredPredictions, order: NDArray[np.intp], terms: Terms) -> tuple[At, At]:
    # Of a single photo there are no halves: it is both.
    one, other = order[: max(1, len(order) // 2)], order[len(order) // 2 :]
    best = choose(test.right[one], test.confidence[one], terms.costs, terms.wish).best.threshold
    right, confidence = test.right[other], test.confidence[other]
    return at(terms.current, right, confidence, terms.costs), at(best, right, confidence, terms.costs)


def _mean(points: list[At], threshold: float | None = None) -> At:
    """All of them as one: counts summed up, shares of the sums."""
    n, accepted, wrong = (sum(getattr(point, name) for point in points) for name in ("n", "accepted", "wrong"))
    return At(
        threshold=points[0].threshold if threshold is None else threshold,
        n=n,
        accepted=accepted,
        wrong=wrong,
        coverage=accepted / n,
        error=wrong / accepted if accepted else None,
        dollars_per_1000=float(np.mean([point.dollars_per_1000 for point in points])),
    )


def _saved(test: ScoredPredictions, terms: Terms, then: float) -> Floats:
    now = dollars(terms.current, test.right, test.confidence, terms.costs)
    return now - dollars(then, test.right, test.confidence, terms.costs)
