"""Confidence intervals of proportions; needs the standard library alone."""

import math
from dataclasses import dataclass
from statistics import NormalDist


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval of a proportion: both ends lie between 0 and 1."""

    low: float
    high: float


def wilson_interval(successes: int, n: int, level: float = 0.95) -> Interval:
    """The confidence interval of a proportion: reliable for few trials and for proportions near 0 and 1.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927.

    Raises:
        ValueError: *n* is not positive, or there are more successes than trials.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}")
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = successes / n
    center = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half_width = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    # The formula gives 0 and 1 at the ends except for rounding errors.
    low = max(0.0, center - half_width) if successes else 0.0
    high = min(1.0, center + half_width) if successes < n else 1.0
    return Interval(low, high)


def photos_for_accuracy(accuracy: float, required: float, level: float = 0.95) -> int | None:
    """With how many photos of this *accuracy* the lower end of its Wilson interval would be *required*.

    None where the accuracy itself is no higher: no number is enough.
    """
    if accuracy <= required:
        return None
    z = NormalDist().inv_cdf((1 + level) / 2)
    # The lower end is the share from which the accuracy lies z standard errors away.
    return math.ceil(z**2 * required * (1 - required) / (accuracy - required) ** 2)
