"""Comparison: two models on the same photos."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from scones.domain.text import plural

SIGNIFICANCE = 0.05
"""A difference with a smaller p-value is significant."""
_MIN_SHOWN = 0.001
_STEPS = 14
"""Bisections of the lower bound: it is exact to .0001."""
_RATES = 24
_LARGE = 2000
"""With more photos the normal approximation is exact enough, and fast."""

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
        return self.verdict_on("this model", "the other model", short="the other")

    def verdict_on(self, ours: str, theirs: str, short: str = "") -> str:
        """The same with these names; *short* is the other's where a word may be left out."""
        split = f"{plural(self.only_ours, 'photo')} only {ours} has right, {self.only_theirs} only {short or theirs}"
        chance = f"p = {self.p_value:.2g}" if self.p_value >= _MIN_SHOWN else f"p < {_MIN_SHOWN:g}"
        if self.p_value >= SIGNIFICANCE:
            return f"no significant difference: {split} ({chance})"
        better = ours if self.only_ours > self.only_theirs else theirs
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
    return min(1.0, 2 * float(scipy.special.bdtr(min(one, other), one + other, 0.5)))


def difference_bound(only_ours: int, only_theirs: int, n: int, confidence: float = 0.95) -> float:
    """The one-sided lower confidence bound of our accuracy minus the other's, from *n* photos that both answered.

    Exact: whatever the true accuracies are, the bound lies above the true difference with probability
    1 - *confidence* at most. It inverts the exact unconditional test (K. Sidik, 2003) that orders outcomes by the score
    statistic of T. Tango, "Equivalence test and confidence interval for the difference in proportions for the
    paired-sample design", 1998.

    Raises:
        ValueError: *n* is not positive, or more photos differ than there are.
    """
    if n < 1 or min(only_ours, only_theirs) < 0 or only_ours + only_theirs > n:
        raise ValueError(f"{only_ours} and {only_theirs} different answers of {n}")
    low, high = -1.0, (only_ours - only_theirs) / n
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _p_value(only_ours, only_theirs, n, middle) <= 1 - confidence:
            low = middle
        else:
            high = middle
    return low


def difference_interval(only_ours: int, only_theirs: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The two-sided confidence interval of our accuracy minus the other's, made of two bounds; raises as they do."""
    each = (1 + confidence) / 2
    low, high = (difference_bound(*counts, n, each) for counts in ((only_ours, only_theirs), (only_theirs, only_ours)))
    return low, -high


def photos_needed(only_ours: int, only_theirs: int, n: int, margin: float, confidence: float = 0.95) -> int | None:
    """With about how many photos, and these shares of different answers, the bound would be -*margin*.

    None where no number is enough, since the difference itself is lower.
    """
    # The score grows with the root of the number of photos.
    score = float(_score(np.array([only_ours]), np.array([only_theirs]), n, -margin)[0])
    return int(np.ceil(n * (scipy.special.ndtri(confidence) / score) ** 2)) if score > 0 else None


def _p_value(only_ours: int, only_theirs: int, n: int, difference: float) -> float:
    """The largest probability of so high a score, over all shares of photos that differ, if *difference* is true."""
    least = float(_score(np.array([only_ours]), np.array([only_theirs]), n, difference)[0])
    if n > _LARGE:
        return float(scipy.special.ndtr(-least))
    differ = np.arange(n + 1)
    # Of so many that differ, the fewest that only we have right for such a score: the score grows with them.
    low, high = np.zeros(n + 1, np.intp), differ + 1
    while (low < high).any():
        middle = (low + high) // 2
        reached = _score(middle, differ - middle, n, difference) >= least - 1e-9
        low, high = np.where(reached | (low == high), low, middle + 1), np.where(reached, middle, high)
    smallest = max(abs(difference), 1e-6)
    rates = np.concatenate([np.linspace(smallest, 1, _RATES), np.geomspace(smallest, 1, _RATES)])[:, None]
    share = np.clip((1 + difference / rates) / 2, 0, 1)
    tails = np.where(low > 0, scipy.special.bdtrc(np.maximum(low - 1, 0), np.maximum(differ, 1), share), 1)
    ways = scipy.special.gammaln(n + 1) - scipy.special.gammaln(differ + 1) - scipy.special.gammaln(n - differ + 1)
    logs = ways + scipy.special.xlogy(differ, rates) + scipy.special.xlog1py(n - differ, -rates)
    return float((np.exp(logs) * np.where(low > differ, 0, tails)).sum(axis=1).max())


def _score(ours: NDArray[np.intp], theirs: NDArray[np.intp], n: int, difference: float) -> Floats:
    """Tango's score: how far the counts lie above the *difference*, in standard deviations that it implies."""
    first = (2 * n - ours + theirs) * difference - ours - theirs
    root = np.sqrt(np.maximum(first**2 + 8 * n * theirs * difference * (1 - difference), 0))
    variance = n * ((root - first) / (2 * n) + difference * (1 - difference))
    lead = ours - theirs - n * difference
    # Without variance any lead at all is beyond doubt, unless it is the rounding of a difference of nothing.
    return np.asarray(
        np.where(variance > 1e-12, lead / np.sqrt(np.maximum(variance, 1e-12)), np.where(lead > 1e-9, np.inf, 0))
    )


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
