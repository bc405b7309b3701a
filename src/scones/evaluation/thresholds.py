"""Thresholds: select the cheapest for given costs and risk target, and evaluate it on other data."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import scipy
from numpy.typing import NDArray

from scones.domain.text import exact_percent
from scones.model.out_of_fold import ScoredPredictions

GRID: Final = (*(round(0.05 + 0.01 * step, 2) for step in range(95)), 0.995, 0.998, 0.999)
"""The candidate thresholds. Fixed beforehand: a grid made from the predictions would void the guarantee."""
STARTS: Final = (0.998, 0.98, 0.95, 0.9)
"""Where the sequences of tests begin; each gets an equal part of alpha and continues to lower thresholds."""

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Costs:
    """What one wrong route and one review by a person cost, in dollars."""

    wrong_route: float
    review: float


@dataclass(frozen=True, slots=True)
class RiskTarget:
    """At most *max_error* of the accepted predictions are wrong, with confidence 1 - *alpha*."""

    max_error: float
    alpha: float

    @property
    def min_photos(self) -> int:
        """How many accepted predictions, all right, it takes to certify one of the starts."""
        return int(np.ceil(np.log(self.alpha / len(STARTS)) / np.log1p(-self.max_error)))


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """One threshold on *n* photos; *error* is the share of wrong predictions among the accepted, None without any."""

    threshold: float
    n: int
    accepted: int
    wrong: int
    coverage: float
    error: float | None
    dollars_per_1000: float


@dataclass(frozen=True, slots=True)
class ThresholdSelection:
    """The cheapest threshold, the cheapest certified one (None where none is), and the figures of every candidate.

    *bound* is the upper confidence bound, at the target's alpha, of the share of wrong predictions among those that
    *cheapest* accepts.
    """

    cheapest: OperatingPoint
    certified: OperatingPoint | None
    certified_count: int
    bound: float
    curve: tuple[OperatingPoint, ...]

    @property
    def best(self) -> OperatingPoint:
        """The certified threshold, or the cheapest where none could be certified."""
        return self.certified or self.cheapest


def select_threshold(right: Flags, confidence: Floats, costs: Costs, target: RiskTarget) -> ThresholdSelection:
    """Select the threshold of the lowest expected cost on labelled photos, *right* [N] and *confidence* [N]."""
    curve = _counts(GRID, right, confidence, costs)
    certain = set(certified(curve, target))
    cheapest = _cheapest(curve)
    allowed = tuple(point for point in curve if point.threshold in certain)
    return ThresholdSelection(
        cheapest=cheapest,
        certified=_cheapest(allowed) if allowed else None,
        certified_count=len(allowed),
        bound=_upper_bound(cheapest.wrong, cheapest.accepted, target.alpha / len(GRID)),
        curve=curve,
    )


def operating_point(threshold: float, right: Flags, confidence: Floats, costs: Costs) -> OperatingPoint:
    """Count what a threshold would have accepted on these photos."""
    return _counts((threshold,), right, confidence, costs)[0]


def photo_costs(threshold: float, right: Flags, confidence: Floats, costs: Costs) -> Floats:
    """The cost of each photo at a threshold: a review below it, a wrong route if accepted and wrong, else nothing."""
    return np.where(confidence < threshold, costs.review, np.where(right, 0.0, costs.wrong_route))


def certified(curve: Sequence[OperatingPoint], target: RiskTarget) -> Iterator[float]:
    """Give the thresholds that meet the target, certified simultaneously (fixed-sequence testing).

    From each start the thresholds are tested downwards until one fails: the order is fixed, so no correction for
    their number is needed. Thresholds after the first failure of a sequence do not count.
    """
    levels = [point.threshold for point in curve]
    passed = _p_values(curve, target.max_error) <= target.alpha / len(STARTS)
    found: set[float] = set()
    for start in STARTS:
        place = levels.index(start)
        while place >= 0 and passed[place]:
            found.add(levels[place])
            place -= 1
    yield from sorted(found)


def _counts(thresholds: Sequence[float], right: Flags, confidence: Floats, costs: Costs) -> tuple[OperatingPoint, ...]:
    order = np.argsort(confidence)
    wrong_below = np.concatenate([[0], np.cumsum(~right[order])])
    below = np.searchsorted(confidence[order], thresholds, side="left")
    n = len(right)
    return tuple(
        _at(threshold, n, n - int(place), int(wrong_below[-1] - wrong_below[place]), costs)
        for threshold, place in zip(thresholds, below, strict=True)
    )


def _at(threshold: float, n: int, accepted: int, wrong: int, costs: Costs) -> OperatingPoint:
    return OperatingPoint(
        threshold=threshold,
        n=n,
        accepted=accepted,
        wrong=wrong,
        coverage=accepted / n,
        error=wrong / accepted if accepted else None,
        dollars_per_1000=1000 * (wrong * costs.wrong_route + (n - accepted) * costs.review) / n,
    )


def _p_values(curve: Sequence[OperatingPoint], max_error: float) -> Floats:
    """The chance, at each threshold, of so few wrong predictions if *max_error* of them or more were wrong."""
    wrong, accepted = [point.wrong for point in curve], [point.accepted for point in curve]
    return np.asarray(scipy.special.bdtr(wrong, accepted, max_error))


def _upper_bound(wrong: int, accepted: int, alpha: float) -> float:
    """The upper confidence bound, at *alpha*, of the share of wrong ones (C. Clopper and E. Pearson, 1934)."""
    return float(scipy.special.betaincinv(wrong + 1, accepted - wrong, 1 - alpha)) if wrong < accepted else 1.0


def _cheapest(curve: tuple[OperatingPoint, ...]) -> OperatingPoint:
    # Of two thresholds with the same cost, the stricter routes fewer orders wrongly.
    return min(curve, key=lambda point: (point.dollars_per_1000, -point.threshold))


SPLITS: Final = 100
"""How often the test photos are split in half where there are no out-of-fold predictions."""
_RESAMPLES: Final = 2000
_PERCENTILES: Final = (2.5, 97.5)

Source = Literal["out_of_fold", "halves"]


@dataclass(frozen=True, slots=True)
class ThresholdTerms:
    """What a threshold is selected by: the *current* one, the costs, the risk target and the random seed."""

    current: float
    costs: Costs
    risk_target: RiskTarget
    seed: int


@dataclass(frozen=True, slots=True)
class Saving:
    """What the proposed threshold saves against the current one, in dollars for 1,000 photos, with a 95% interval."""

    dollars_per_1000: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ThresholdEvaluation:
    """A threshold selected on *photos* of *source*; it and the current one are evaluated on other photos.

    *source* is `out_of_fold`, or `halves`: then one half of the test photos selects and the other evaluates, SPLITS
    times; *current*, *proposed* and *saving* are means and percentiles over these, and *selection* is made on all
    test photos.
    """

    source: Source
    photos: int
    terms: ThresholdTerms
    selection: ThresholdSelection
    current: OperatingPoint
    proposed: OperatingPoint
    saving: Saving
    guaranteed: bool
    """Whether the proposed threshold is certified to meet the risk target."""
    guarantee: str
    """What is certified for the proposed threshold, in one sentence."""


def evaluate_threshold(known: ScoredPredictions, test: ScoredPredictions, terms: ThresholdTerms) -> ThresholdEvaluation:
    """Select on the out-of-fold predictions, and evaluate on the test photos."""
    selection = select_threshold(known.right, known.confidence, terms.costs, terms.risk_target)
    proposed = selection.best.threshold
    saved = _saved(test, terms, proposed)
    rng = np.random.default_rng(terms.seed)
    means = [1000 * rng.choice(saved, len(saved)).mean() for _ in range(_RESAMPLES)]
    low, high = (float(value) for value in np.percentile(means, _PERCENTILES))
    return ThresholdEvaluation(
        source="out_of_fold",
        photos=len(known.right),
        terms=terms,
        selection=selection,
        current=operating_point(terms.current, test.right, test.confidence, terms.costs),
        proposed=operating_point(proposed, test.right, test.confidence, terms.costs),
        saving=Saving(1000 * float(saved.mean()), low, high),
        guaranteed=selection.certified is not None,
        guarantee=guarantee_sentence(selection, terms.risk_target),
    )


def evaluate_threshold_on_halves(test: ScoredPredictions, terms: ThresholdTerms) -> ThresholdEvaluation:
    """Select on one half of the test photos and evaluate on the other, many times; then select on all of them."""
    rng = np.random.default_rng(terms.seed)
    halves = [_half(test, rng.permutation(len(test.right)), terms) for _ in range(SPLITS)]
    savings = [current.dollars_per_1000 - proposed.dollars_per_1000 for current, proposed in halves]
    low, high = (float(value) for value in np.percentile(savings, _PERCENTILES))
    selection = select_threshold(test.right, test.confidence, terms.costs, terms.risk_target)
    return ThresholdEvaluation(
        source="halves",
        photos=len(test.right),
        terms=terms,
        selection=selection,
        current=_mean([point for point, _ in halves]),
        proposed=_mean([point for _, point in halves], selection.best.threshold),
        saving=Saving(float(np.mean(savings)), low, high),
        guaranteed=selection.certified is not None,
        guarantee=guarantee_sentence(selection, terms.risk_target),
    )


def guarantee_sentence(selection: ThresholdSelection, target: RiskTarget) -> str:
    """Say in one sentence what is certified for the selected threshold, or why nothing is."""
    level, n = f"{1 - target.alpha:.0%} confidence", selection.best.n
    if selection.certified:
        return f"at most {target.max_error:.1%} of routed photos are wrong, with {level} ({n:,} photos)"
    # With too few photos, more of them help; with enough, only a better model does.
    why = f"at least {target.min_photos} right predictions above the threshold are needed"
    if n >= target.min_photos:
        why = "too few predictions above the threshold are right"
    cheapest = exact_percent(selection.cheapest.threshold)
    return (
        f"no threshold is certified: to show with {level} that at most {target.max_error:.1%} of routed photos are "
        f"wrong, {why}. At the cheapest threshold, {cheapest}, at most {selection.bound:.1%} are wrong ({n:,} photos)"
    )


def _half(
    test: ScoredPredictions, order: NDArray[np.intp], terms: ThresholdTerms
) -> tuple[OperatingPoint, OperatingPoint]:
    # A single photo cannot be split: it is both halves.
    one, other = order[: max(1, len(order) // 2)], order[len(order) // 2 :]
    best = select_threshold(test.right[one], test.confidence[one], terms.costs, terms.risk_target).best.threshold
    right, confidence = test.right[other], test.confidence[other]
    return operating_point(terms.current, right, confidence, terms.costs), operating_point(
        best, right, confidence, terms.costs
    )


def _mean(points: list[OperatingPoint], threshold: float | None = None) -> OperatingPoint:
    """The mean of several operating points: counts are added up, shares are those of the sums."""
    n, accepted, wrong = (sum(getattr(point, name) for point in points) for name in ("n", "accepted", "wrong"))
    return OperatingPoint(
        threshold=points[0].threshold if threshold is None else threshold,
        n=n,
        accepted=accepted,
        wrong=wrong,
        coverage=accepted / n,
        error=wrong / accepted if accepted else None,
        dollars_per_1000=float(np.mean([point.dollars_per_1000 for point in points])),
    )


def _saved(test: ScoredPredictions, terms: ThresholdTerms, proposed: float) -> Floats:
    current = photo_costs(terms.current, test.right, test.confidence, terms.costs)
    return current - photo_costs(proposed, test.right, test.confidence, terms.costs)
