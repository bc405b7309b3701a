"""The budget: one number, false alarms per 1,000 photos, and what each detector may spend of it; pure."""

from dataclasses import dataclass
from math import ceil, exp, log1p

from scones.config.settings import MAX_PER_THOUSAND, MAX_RATE, MIN_PER_THOUSAND, MIN_RATE
from scones.domain.errors import SconesError
from scones.monitoring.scores import MIN_PHOTOS

DEFAULT_PER_THOUSAND = 0.1
_THOUSAND = 1000
# Either detector finds what the other is slow to find, so neither is worth more.
_SHARE = 0.5


class BadBudget(SconesError):
    """A number of false alarms that cannot be calibrated."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The expected number of false alarms per 1,000 photos, half for the stream detector and half for the windows.

    The halves add up whatever the two detectors have in common (Boole's inequality), so the whole is a bound.

    Raises:
        BadBudget: on construction, if the number is not between MIN_PER_THOUSAND and MAX_PER_THOUSAND.
    """

    per_thousand: float = DEFAULT_PER_THOUSAND

    def __post_init__(self) -> None:
        """Refuse what no calibration can promise."""
        if not MIN_PER_THOUSAND <= self.per_thousand <= MAX_PER_THOUSAND:
            allowed = f"{MIN_PER_THOUSAND} to {MAX_PER_THOUSAND}"
            raise BadBudget(f"{self.per_thousand} false alarms per 1,000 photos cannot be promised; choose {allowed}")

    def of_stream(self) -> float:
        """Give the probability of a false alarm of the stream detector within 1,000 photos."""
        return 1 - exp(-_SHARE * self.per_thousand)

    def of_window(self, photos: int) -> float:
        """Give the false-alarm rate of one check of *photos*: large windows are rarer, so each may spend more.

        A window of fewer than `smallest_window` photos gets a lower rate than a check can be calibrated for.
        """
        return min(1 - exp(-_SHARE * self.per_thousand * photos / _THOUSAND), MAX_RATE)

    def smallest_window(self) -> int:
        """Give how many photos to wait for, so that a check can be calibrated for its rate."""
        return max(MIN_PHOTOS, ceil(-log1p(-MIN_RATE) * _THOUSAND / (_SHARE * self.per_thousand)))
