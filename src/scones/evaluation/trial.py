"""Trial: choose a threshold on some photos, and say what it buys on others."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from scones.evaluation.out_of_fold import Judged
from scones.evaluation.thresholds import At, Choice, Costs, Wish, at, choose, dollars

HALVINGS: Final = 100
"""How often the test photos are halved where there are no out-of-fold answers."""
_RESAMPLES: Final = 2000
_LEVELS: Final = (2.5, 97.5)

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
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


def try_threshold(known: Judged, test: Judged, terms: Terms) -> ThresholdTrial:
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


def try_on_halves(test: Judged, terms: Terms) -> ThresholdTrial:
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


def _half(test: Judged, order: NDArray[np.intp], terms: Terms) -> tuple[At, At]:
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


def _saved(test: Judged, terms: Terms, then: float) -> Floats:
    now = dollars(terms.current, test.right, test.confidence, terms.costs)
    return now - dollars(then, test.right, test.confidence, terms.costs)
